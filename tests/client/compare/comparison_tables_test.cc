#include "client/compare/comparison_tables.h"

#include <nlohmann/json.hpp>

#include "cli/comparison.h"
#include "client/compare/compare_cases.h"
#include "client/compare/comparison_page.h"
#include "tests/client/golden.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kReport[] = R"({
  "original_bytes": 30064771072, "weight_file_bytes": 6442450944,
  "plan": {"heuristic": "optimal", "average_bits": 2.9986, "loss": 123.456, "objective": "measured",
    "verdict": {"plan": {"mean": 0.0125, "cvar": 0.05, "worst_window": 0.0625, "percentile_99": 0.25, "percentile_999": 0.75,
                         "broken_windows": 1, "top1_flips": 210},
                "uniform": {"mean": 0.02, "cvar": 0.06, "worst_window": 0.07, "percentile_99": 0.3, "percentile_999": 0.8,
                            "broken_windows": 2, "top1_flips": 220},
                "plan_published": true, "tokens": 4096}},
  "scores": {
    "comparison": {"scores": [
      {"task": "perplexity", "metric": "value", "before": 7.1234, "after": 7.5, "interval": [0.25, 0.5]},
      {"task": "piqa", "metric": "acc", "before": 0.8, "after": 0.79, "interval": [-0.022, 0.0017]},
      {"task": "wikitext", "metric": "word_perplexity", "before": 9.5, "after": 9.75, "interval": [0.2, 0.3]}]},
    "reference": {"bits": 3, "weight_file_bytes": 6442450000, "comparison": {"scores": [
      {"task": "perplexity", "metric": "value", "before": 7.75, "after": 7.5, "interval": [-0.4, -0.1]},
      {"task": "piqa", "metric": "acc", "before": 0.78, "after": 0.79, "interval": [-0.01, 0.03]}]}},
    "verdict": {"recommends": "plan", "text": "The plan beats uniform 3 bits."}}})";

v1::Job FinishedJob() {
  v1::Job job;
  job.set_name("jobs/a");
  job.mutable_start_time()->set_seconds(100);
  job.mutable_finish_time()->set_seconds(107);
  job.mutable_finish_time()->set_nanos(500'000'000);
  for (const auto& [total, cached] : {std::pair(40, 30), std::pair(5, 0)}) {
    v1::StageProgress& stage = *job.mutable_progress()->add_stages();
    stage.set_tasks_total(total);
    stage.set_tasks_cached(cached);
    stage.set_task_seconds(1.25);
  }
  return job;
}

ComparedJob Read(const char* report, Comparison& comparison) {
  ComparedJob job;
  job.heuristic = "optimal";
  job.budget = "3 bits";
  job.job = "jobs/a";
  EXPECT_THAT(ReadReport(FinishedJob().name(), report, job, comparison), IsOk());
  ReadCost(FinishedJob(), job);
  return job;
}

// Two budgets; one plan failed, with a reason that is markup everywhere.
Comparison Example() {
  Comparison comparison{
      .model = "/models/qwen", .original_bytes = 0, .jobs = {}, .losses = {}, .objective = ""};
  const ComparedJob optimal = Read(kReport, comparison);
  ComparedJob uniform = optimal;
  uniform.heuristic = "uniform";
  uniform.width = 3;
  uniform.job = "jobs/b";
  uniform.perplexity->after = 7.75;
  uniform.against_uniform.reset();
  uniform.verdict.clear();
  ComparedJob failed;
  failed.heuristic = "random:seed=1";
  failed.budget = "3 bits";
  failed.job = "jobs/c";
  failed.failure = "no | luck: <b>*x*</b> & [here](http://x)\n\"so\"";
  ComparedJob alone = optimal;
  alone.budget = "2.5 bits";
  ComparedJob fewer = alone;
  fewer.heuristic = "uniform";
  fewer.width = 2;
  fewer.average_bits = 2;
  fewer.weight_file_bytes = int64_t{4} << 30;
  fewer.perplexity->after = 9.5;
  fewer.against_uniform.reset();
  fewer.verdict.clear();
  alone.average_bits = 2.4999;
  alone.uniform_bits = 2;
  alone.uniform_bytes = fewer.weight_file_bytes;
  comparison.jobs = {optimal, uniform, failed, alone, fewer};
  NamePlans(comparison);
  MarkBest(comparison);
  return comparison;
}

TEST(ComparisonTablesTest, ReadsFiguresAndCost) {
  Comparison comparison;
  const ComparedJob job = Read(kReport, comparison);
  EXPECT_EQ(comparison.original_bytes, 30064771072);
  EXPECT_EQ(job.weight_file_bytes, 6442450944);
  EXPECT_EQ(job.average_bits, 2.9986);
  EXPECT_EQ(job.perplexity->after, 7.5);
  EXPECT_EQ(job.against_uniform->before, 7.75);
  EXPECT_EQ(job.verdict, "plan");
  ASSERT_EQ(job.benchmarks.size(), 2u);
  EXPECT_EQ(job.benchmarks[0].high, 0.0017);
  EXPECT_EQ(job.tasks, 45);
  EXPECT_EQ(job.reused, 30);
  EXPECT_EQ(job.worker_seconds, 2.5);
  EXPECT_EQ(job.wall_seconds, 7.5);
}

// A plan that lost against the uniform one was not published.
TEST(ComparisonTablesTest, TailsAreThoseOfWhatWasPublished) {
  Comparison comparison;
  EXPECT_EQ(Read(kReport, comparison).divergence->broken_windows, 1);
  std::string lost = kReport;
  const std::string published = R"("plan_published": true)";
  lost.replace(lost.find(published), published.size(), R"("plan_published": false)");
  EXPECT_EQ(Read(lost.c_str(), comparison).divergence->broken_windows, 2);
}

TEST(ComparisonTablesTest, AUniformPlanThatLeavesBytesUnspentIsNamedSo) {
  const Comparison comparison = Example();
  EXPECT_EQ(comparison.jobs[1].plan, "uniform-3");
  EXPECT_EQ(comparison.jobs[4].plan, "uniform-2 (fewer bytes)");
  EXPECT_EQ(ReferenceName(comparison.jobs[0]), "uniform-3");
  EXPECT_EQ(ReferenceName(comparison.jobs[3]), "uniform-2 (fewer bytes)");
  EXPECT_THAT(RenderComparison(comparison), HasSubstr("in-order"));
}

TEST(ComparisonTablesTest, EvaluationMayHaveBeenSkipped) {
  Comparison comparison;
  const ComparedJob job = Read(R"({"original_bytes": 9, "weight_file_bytes": 3, "scores": {},
    "plan": {"average_bits": 3, "loss": 1, "objective": "block"}})",
                               comparison);
  comparison.jobs = {job};
  EXPECT_FALSE(job.perplexity.has_value());
  EXPECT_THAT(RenderComparison(comparison), Not(HasSubstr("uniform")));
  EXPECT_THAT(ComparisonPage(comparison), Not(HasSubstr("class=\"track\"")));
}

TEST(ComparisonTablesTest, Golden) {
  const Comparison example = Example();
  ExpectGolden("comparison.txt", RenderComparison(example));
  ExpectGolden("comparison.md", ComparisonMarkdown(example));
  ExpectGolden("comparison.html", ComparisonPage(example));
  ExpectGolden("comparison.json", ComparisonJson(example));
}

TEST(ComparisonTablesTest, TextOfOthersStaysText) {
  const Comparison example = Example();
  EXPECT_THAT(ComparisonMarkdown(example),
              HasSubstr("no \\| luck: &lt;b&gt;\\*x\\*&lt;/b&gt; &amp; [here]\\(http://x)\\\\n\"so\""));
  EXPECT_THAT(ComparisonPage(example),
              HasSubstr("&lt;b&gt;*x*&lt;/b&gt; &amp; [here](http://x)\\n&quot;so&quot;"));
  EXPECT_EQ(nlohmann::json::parse(ComparisonJson(example))["jobs"][2]["failure"], example.jobs[2].failure);
}

TEST(ComparisonTablesTest, PageNeedsNoNetwork) {
  const std::string page = ComparisonPage(Example());
  for (const char* loading : {"src=", "href=", "url(", "@import", "<script"}) {
    EXPECT_THAT(page, Not(HasSubstr(loading)));
  }
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
}

}  // namespace
}  // namespace quantmoe
