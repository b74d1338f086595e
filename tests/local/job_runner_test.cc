// Whole jobs of a small model in this process: earlier results are used, lost ones are made again, and the
// results are those of a run to which nothing happened.
#include "local/job_runner.h"

#include <filesystem>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "local/make_spec.h"
#include "quant/tasks/run_task.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

const ModelSources kAnywhere{.confined = false};

// Digests of all outputs by "LABEL/ROLE".
using Outputs = std::map<std::string, std::string>;

Outputs OutputsOf(const TaskGraphState& graph) {
  Outputs outputs;
  for (const TaskNode& task : graph.tasks()) {
    for (const BlobRef& output : task.outputs) {
      outputs[task.definition.label + "/" + output.role] = output.digest.sha256;
    }
  }
  return outputs;
}

int CachedOf(const TaskGraphState& graph) {
  int cached = 0;
  for (const TaskNode& task : graph.tasks()) cached += task.cached ? 1 : 0;
  return cached;
}

class JobRunnerTest : public ::testing::Test {
 protected:
  // Two shards of text, so that tasks have several inputs of a kind.
  absl::StatusOr<ResolvedJob> Job(double damp, LocalBlobStore& blobs) const {
    JobSpec spec;
    spec.model_uri = model_;
    spec.heuristic = "uniform";
    spec.budget.average_bits = 3;
    spec.gptq.damp = damp;
    spec.gptq.min_tokens_ratio = 0;  // so little text is enough
    spec.calibration.samples = 4;
    spec.calibration.sequence_length = 32;
    spec.calibration.shard_sequences = 2;
    spec.evaluation.skip = true;
    JobData data(kAnywhere, &blobs);
    ASSIGN_OR_RETURN(spec, MakeSpec({.spec = spec, .given = {}}, data));
    return OpenJob(std::move(spec), kAnywhere);
  }

  // As a process of its own, which has checked no blob yet.
  struct Ran {
    absl::Status status;
    Outputs outputs = {};
    int tasks = 0, cached = 0;
  };
  Ran Run(double damp, const std::string& work_dir, int threads = 2) {
    absl::StatusOr<std::unique_ptr<LocalBlobStore>> blobs = LocalBlobStore::Open(work_dir + "/blobs");
    if (!blobs.ok()) return {blobs.status()};
    const absl::StatusOr<ResolvedJob> job = Job(damp, **blobs);
    if (!job.ok()) return {job.status()};
    SetComputeThreads(threads);
    JobRunner runner(*job, **blobs, work_dir, kAnywhere, cpu_);
    absl::Status status = runner.Run([](const std::string&, size_t, size_t) {});
    return {std::move(status), OutputsOf(runner.graph()), static_cast<int>(runner.graph().tasks().size()),
            CachedOf(runner.graph())};
  }

  // Changes one byte of every output of tasks whose label begins so; how many.
  static int Damage(const Outputs& outputs, const std::string& prefix, const std::string& work_dir) {
    int damaged = 0;
    for (const auto& [name, sha256] : outputs) {
      if (!name.starts_with(prefix)) continue;
      const std::string path =
          work_dir + "/blobs/sha256/" + sha256.substr(0, 2) + "/" + sha256.substr(2, 2) + "/" + sha256;
      std::string bytes = ReadTestFile(path);
      if (bytes.empty()) continue;  // another name of bytes that were damaged
      bytes[bytes.size() / 2] ^= 1;
      std::filesystem::remove(path);
      WriteTestFile(path, bytes);
      ++damaged;
    }
    return damaged;
  }

  const ComputeDevice cpu_{};
  TemporaryDirectory directory_;
  std::string model_ = QUANTMOE_TESTDATA "/tiny-qwen2-moe";
};

TEST_F(JobRunnerTest, TheSecondRunComputesNothing) {
  const Ran first = Run(0.01, directory_.path());
  ASSERT_OK(first.status);
  EXPECT_EQ(first.cached, 0);
  const Ran second = Run(0.01, directory_.path());
  ASSERT_OK(second.status);
  EXPECT_EQ(second.cached, second.tasks);
  EXPECT_EQ(second.outputs, first.outputs);
}

TEST_F(JobRunnerTest, TheOrderOfTasksChangesNoByte) {
  const Ran alone = Run(0.01, directory_ / "alone", /*threads=*/1);
  ASSERT_OK(alone.status);
  const Ran together = Run(0.01, directory_ / "together", /*threads=*/4);
  ASSERT_OK(together.status);
  EXPECT_EQ(together.outputs, alone.outputs);
}

TEST_F(JobRunnerTest, ResultsThatSeveralTasksMissAreMadeAgain) {
  const Ran first = Run(0.01, directory_ / "work");
  ASSERT_OK(first.status);
  const Ran whole = Run(0.02, directory_ / "other");
  ASSERT_OK(whole.status);
  // The next job solves anew from forward passes that are remembered, in several lanes: all miss the same.
  EXPECT_GT(Damage(first.outputs, "forward-", directory_ / "work"), 10);
  const Ran again = Run(0.02, directory_ / "work", /*threads=*/4);
  ASSERT_OK(again.status);
  EXPECT_EQ(again.outputs, whole.outputs);
}

TEST_F(JobRunnerTest, WhatPrepareMadeIsMadeAgain) {
  const Ran first = Run(0.01, directory_.path());
  ASSERT_OK(first.status);
  EXPECT_GT(Damage(first.outputs, "prepare/", directory_.path()), 1);
  const Ran again = Run(0.02, directory_.path());
  ASSERT_OK(again.status);
  EXPECT_EQ(again.outputs.at("prepare/summary"), first.outputs.at("prepare/summary"));
}

TEST_F(JobRunnerTest, AnEditedTokenizerIsReadAgain) {
  std::filesystem::copy(model_, directory_ / "model");
  model_ = directory_ / "model";
  const Ran first = Run(0.01, directory_ / "work");
  ASSERT_OK(first.status);
  // One that the first job could not know: its artifact would carry the old one.
  const std::string path = model_ + "/tokenizer_config.json";
  WriteTestFile(path, ReadTestFile(path) + "\n");
  const Ran again = Run(0.01, directory_ / "work");
  ASSERT_OK(again.status);
  EXPECT_EQ(again.cached, again.tasks - 2) << "all but prepare, which gives the same, and publish";
  EXPECT_NE(again.outputs.at("publish/manifest"), first.outputs.at("publish/manifest"));
}

TEST_F(JobRunnerTest, AnUnreadableResultIsNone) {
  const Ran first = Run(0.01, directory_.path());
  ASSERT_OK(first.status);
  int broken = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "results")) {
    if (++broken > 3) break;
    WriteTestFile(entry.path(), broken == 1 ? "" : broken == 2 ? "[1]" : R"({"summary":{"sha256":7}})");
  }
  const Ran again = Run(0.01, directory_.path());
  ASSERT_OK(again.status);
  EXPECT_EQ(again.cached, again.tasks - 3);
  EXPECT_EQ(again.outputs, first.outputs);
}

TEST_F(JobRunnerTest, AFailureEndsEveryLaneAndKeepsWhatWasComputed) {
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LocalBlobStore> blobs,
                       LocalBlobStore::Open(directory_ / "blobs"));
  ASSERT_OK_AND_ASSIGN(ResolvedJob job, Job(0.01, *blobs));
  job.spec.gptq.min_tokens_ratio = 1000;  // every linear is rounded, which `allocate` refuses
  SetComputeThreads(4);
  const auto ignore = [](const std::string&, size_t, size_t) {};
  JobRunner first(job, *blobs, directory_.path(), kAnywhere, cpu_);
  const absl::Status failed = first.Run(ignore);
  EXPECT_EQ(GetErrorInfo(failed).reason, "TOO_MANY_FALLBACKS");
  EXPECT_THAT(std::string(failed.message()), ::testing::StartsWith("allocate: "));
  JobRunner second(job, *blobs, directory_.path(), kAnywhere, cpu_);
  EXPECT_FALSE(second.Run(ignore).ok());
  EXPECT_EQ(CachedOf(second.graph()), second.graph().done());
  EXPECT_GT(second.graph().done(), 30);
}

}  // namespace
}  // namespace quantmoe
