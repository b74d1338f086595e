#include "client/text/format.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client/text/json_text.h"
#include "client/text/resource_text.h"
#include "tests/client/golden.h"

namespace quantmoe {
namespace {

TEST(FormatTest, BarsAreAsWideAsAsked) {
  for (const double fraction : {-1.0, 0.0, 0.01, 0.33, 0.5, 0.99, 1.0, 2.0, 0.0 / 0.0}) {
    EXPECT_EQ(DisplayWidth(Bar(fraction, 16)), 16) << fraction;
  }
  EXPECT_EQ(Bar(0.5, 4), "██░░");
  EXPECT_EQ(Bar(1, 2), "██");
  EXPECT_EQ(Bar(0.25, 2), "▌░");
}

TEST(FormatTest, ControlCharactersCannotReachTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2Jb\nc\xC2\x9B"
                      "d é"),
            "a\\u001b[2Jb\\nc\\u009bd é");
}

TEST(FormatTest, TruncatesBetweenWords) {
  EXPECT_EQ(Truncate("ab", 5), "ab");
  EXPECT_EQ(Truncate("one two three", 13), "one two three");
  EXPECT_EQ(Truncate("one two three", 12), "one two…");
  EXPECT_EQ(Truncate("one two three", 8), "one two…");
  EXPECT_EQ(Truncate("one two three", 7), "one…");
  EXPECT_EQ(Truncate("éabc", 3), "éa…") << "a word that does not fit is cut between code points";
  EXPECT_EQ(Truncate("x", 0), "");
}

TEST(FormatTest, WrapsBetweenWords) {
  using ::testing::ElementsAre;
  EXPECT_THAT(Wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(Wrap("  one  ", 7), ElementsAre("one"));
  EXPECT_THAT(Wrap("a-long-word is whole", 6), ElementsAre("a-long-word", "is", "whole"));
  EXPECT_THAT(Wrap("", 7), ElementsAre());
}

TEST(FormatTest, PaintsOnlyWhereColoursShow) {
  EXPECT_EQ(Palette().Paint(Style::kBad, "x"), "x");
  EXPECT_EQ(Palette(true).Paint(Style::kBad, "x"), "\x1b[31mx\x1b[0m");
  TextTable table({{"A"}, {"B"}});
  table.AddRow({{"yes", Style::kGood}, "b"});
  EXPECT_EQ(table.Render(0, Palette(true)), "A    B\n\x1b[32myes\x1b[0m  b\n") << "colours take no columns";
}

TEST(FormatTest, AgesAreOneUnit) {
  EXPECT_EQ(FormatAge(absl::Seconds(59)), "59s");
  EXPECT_EQ(FormatAge(absl::Minutes(61)), "1h");
  EXPECT_EQ(FormatAge(absl::Hours(47)), "47h");
  EXPECT_EQ(FormatAge(absl::Hours(49)), "2d");
  EXPECT_EQ(FormatAge(absl::Seconds(-1)), "-");
}

TEST(FormatTest, ShowsDurationsAndNumbers) {
  EXPECT_EQ(FormatElapsed(absl::Seconds(7)), "0:07");
  EXPECT_EQ(FormatElapsed(absl::Seconds(3723)), "1:02:03");
  EXPECT_EQ(FormatElapsed(absl::InfiniteDuration()), "-");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-123), "-123");
  EXPECT_EQ(FormatNumber(0.00001234, 3), "1.23e-05");
  EXPECT_EQ(FormatNumber(12.3456, 4), "12.35");
}

TEST(FormatTest, TableAlignsWideCharacters) {
  TextTable table({{"NAME"}, {"SIZE", Align::kRight}});
  table.AddRow({"é", "1"});
  table.AddRow({"longer", "1,000"});
  EXPECT_EQ(table.Render(), "NAME     SIZE\né           1\nlonger  1,000\n");
}

v1::Job ExampleJob() {
  v1::Job job;
  job.set_name("jobs/qwen-3bit");
  job.set_display_name("Qwen at three bits");
  (*job.mutable_labels())["team"] = "search";
  job.mutable_spec()->mutable_model()->set_uri("/models/qwen");
  job.mutable_spec()->mutable_budget()->set_average_bits(3);
  job.mutable_spec()->mutable_heuristic()->set_name("optimal");
  job.set_state(v1::Job::RUNNING);
  job.set_state_reason("solving");
  job.mutable_create_time()->set_seconds(1'738'318'830);
  v1::StageProgress& forward = *job.mutable_progress()->add_stages();
  forward.set_stage("forward");
  forward.set_tasks_total(8);
  forward.set_tasks_done(8);
  forward.set_tasks_cached(2);
  forward.set_task_seconds(75);
  v1::StageProgress& solve = *job.mutable_progress()->add_stages();
  solve.set_stage("solve");
  solve.set_tasks_total(12);
  solve.set_tasks_done(3);
  solve.set_tasks_running(2);
  solve.set_task_seconds(4.5);
  return job;
}

TEST(FormatTest, JobsAndTasks) {
  v1::ListJobsResponse jobs;
  *jobs.add_jobs() = ExampleJob();
  v1::Job& failed = *jobs.add_jobs();
  failed.set_name("jobs/old");
  failed.set_display_name("the old one");
  failed.set_parent_job("jobs/older");
  failed.mutable_spec()->mutable_model()->set_uri("hf://Qwen/Qwen1.5-MoE-A2.7B@main");
  failed.set_state(v1::Job::FAILED);
  failed.mutable_spec()->mutable_budget()->set_max_bytes(int64_t{10} << 30);
  v1::ListTasksResponse tasks;
  v1::Task& task = *tasks.add_tasks();
  task.set_name("jobs/qwen-3bit/tasks/solve-0-1");
  task.set_stage("solve");
  task.set_state(v1::Task::FAILED);
  task.set_worker("worker-1");
  task.set_attempts(2);
  task.set_seconds(1.25);
  task.mutable_error()->set_code(13);
  task.mutable_error()->set_message("the matrix\nis singular");
  ExpectGolden("jobs.txt",
               absl::StrCat(RenderJobs(jobs, absl::FromUnixSeconds(1738318830) + absl::Minutes(7)), "\n",
                            RenderJob(ExampleJob()), "\n", RenderTasks(tasks)));
}

TEST(FormatTest, AJobTellsEveryDefault) {
  v1::Job job = ExampleJob();
  v1::JobSpec& spec = *job.mutable_resolved_spec();
  spec.mutable_model()->set_uri("file:///models/qwen");
  spec.set_runtime_profile("gptqmodel");
  v1::GptqParams& gptq = *spec.mutable_gptq();
  gptq.set_group_size(128);
  for (const int width : {2, 3, 4, 8}) gptq.add_widths(width);
  gptq.set_damp(0.01);
  gptq.set_order(v1::GptqParams::ACTIVATION);
  gptq.set_propagation(v1::GptqParams::ORIGINAL);
  v1::Calibration& calibration = *spec.mutable_calibration();
  calibration.mutable_text()->set_sha256(std::string(64, 'a'));
  calibration.mutable_text()->set_size_bytes(2048);
  calibration.set_samples(128);
  calibration.set_sequence_length(512);
  calibration.set_shard_sequences(8);
  v1::Evaluation& evaluation = *spec.mutable_evaluation();
  *evaluation.mutable_perplexity_text() = calibration.text();
  evaluation.set_window(512);
  evaluation.add_tasks()->set_name("copa");
  v1::WidthRule& rule = *spec.add_rules();
  rule.set_pattern("attention");
  rule.set_min_bits(4);
  rule.set_max_bits(4);
  job.add_warnings("an expert will see about 3 calibration tokens");
  v1::ListTasksResponse tasks;
  for (const auto& [name, state] :
       {std::pair("done", v1::Task::DONE), std::pair("broken", v1::Task::FAILED)}) {
    v1::Task& task = *tasks.add_tasks();
    task.set_name(name);
    task.set_state(state);
    task.set_attempts(1);
  }
  ExpectGolden("description.txt", RenderDescription(job, tasks, {}));
}

TEST(FormatTest, EstimateAndWorkers) {
  v1::Estimate estimate;
  estimate.set_original_bytes(int64_t{28} << 30);
  estimate.set_minimum_bytes(int64_t{5} << 30);
  estimate.set_maximum_bytes(int64_t{15} << 30);
  estimate.set_minimum_average_bits(2);
  estimate.set_maximum_average_bits(8);
  estimate.set_worker_memory_bytes(int64_t{900} << 20);
  estimate.set_quantized_linears(4392);
  estimate.set_tasks(1234);
  estimate.add_warnings("few calibration tokens for some experts");
  v1::ListWorkersResponse workers;
  v1::Worker& worker = *workers.add_workers();
  worker.set_id("worker-1");
  worker.set_state(v1::Worker::BUSY);
  worker.set_device("cpu");
  worker.set_threads(2);
  worker.set_memory_bytes(int64_t{8} << 30);
  worker.set_shared_blobs(true);
  worker.set_task("jobs/a/tasks/solve-0-1");
  worker.set_tasks_done(1200);
  worker.mutable_connect_time()->set_seconds(1'738'318'830);
  v1::Estimate alone;
  alone.set_seconds(60);
  alone.set_workers(1);
  EXPECT_THAT(RenderEstimate(alone), testing::HasSubstr("with 1 worker\n"));
  ExpectGolden("estimate_and_workers.txt",
               absl::StrCat(RenderEstimate(estimate), "\n", RenderWorkers(workers)));
}

TEST(FormatTest, AnyJson) {
  ExpectGolden("json.txt", RenderJson(R"({"family": "qwen2_moe", "layers": 2, "widths": [2, 3],
      "parts": [{"name": "attention", "bytes": 10}, {"name": "experts", "bytes": 2000}],
      "kept": {"router": "kept in float", "nested": {"x": 1.5, "list": [{"a": [1]}, "b"]}}})"));
  EXPECT_EQ(RenderJson("{broken"), "{broken\n");
  EXPECT_EQ(RenderJson(R"({"problems": [], "parts": {}})"), "problems: none\nparts: none\n");
}

}  // namespace
}  // namespace quantmoe
