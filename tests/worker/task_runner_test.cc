#include "worker/task_runner.h"

#include <new>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using v1::FailTaskRequest;

// A store that no test here reaches.
class NoBlobs : public BlobStore {
 public:
  absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override {
    return absl::UnimplementedError("no blobs");
  }
  absl::StatusOr<MappedFile> Open(const Digest&) override { return absl::UnimplementedError("no blobs"); }
  absl::StatusOr<bool> Contains(const Digest&) override { return false; }
};

v1::TaskSpec ForwardSpec() {
  v1::TaskSpec spec;
  spec.set_task("jobs/j/tasks/forward-l0-s0");
  spec.set_kind("forward");
  spec.set_params_json("{\"layer\":0}");
  v1::TaskBlob& input = *spec.add_inputs();
  input.set_role("hidden");
  input.mutable_digest()->set_sha256(DigestOf("in").sha256);
  input.mutable_digest()->set_size_bytes(2);
  return spec;
}

TaskOutcome RunTaskWith(const TaskFunction& run_task, v1::TaskSpec spec = ForwardSpec()) {
  Attempt attempt(std::move(spec), "token");
  NoBlobs blobs;
  const ModelSources models{.roots = {"/models"}};
  return RunAttempt(attempt, {run_task, blobs, models});
}

TEST(TaskRunnerTest, PassesTheTaskOnAndReturnsItsOutputs) {
  const TaskOutcome outcome =
      RunTaskWith([](TaskKind kind, const std::string& params, const std::vector<BlobRef>& inputs,
                     TaskContext& context) -> absl::StatusOr<std::vector<BlobRef>> {
        EXPECT_EQ(kind, TaskKind::kForward);
        EXPECT_EQ(params, "{\"layer\":0}");
        EXPECT_EQ(inputs.size(), 1u);
        EXPECT_EQ(inputs[0].role, "hidden");
        EXPECT_EQ(inputs[0].digest, DigestOf("in"));
        EXPECT_THAT(context.models.roots, testing::ElementsAre("/models"));
        return std::vector<BlobRef>{{"hidden", DigestOf("out")}};
      });
  ASSERT_OK(outcome.status);
  ASSERT_EQ(outcome.outputs.size(), 1u);
  EXPECT_EQ(outcome.outputs[0].digest, DigestOf("out"));
}

TEST(TaskRunnerTest, ReportsThePeakOfThisTaskOnly) {
  constexpr size_t kBytes = 64 << 20;
  const auto allocate = [](TaskKind, const std::string&, const std::vector<BlobRef>&,
                           TaskContext&) -> absl::StatusOr<std::vector<BlobRef>> {
    std::string block(kBytes, 'x');
    return std::vector<BlobRef>{{"hidden", DigestOf(block)}};
  };
  const auto nothing = [](TaskKind, const std::string&, const std::vector<BlobRef>&,
                          TaskContext&) -> absl::StatusOr<std::vector<BlobRef>> {
    return std::vector<BlobRef>();
  };
  const int64_t with = RunTaskWith(allocate).peak_memory_bytes;
  const int64_t without = RunTaskWith(nothing).peak_memory_bytes;
  EXPECT_GT(without, 0);
  EXPECT_GE(with, without + static_cast<int64_t>(kBytes / 2));
}

TEST(TaskRunnerTest, ProgressIsSeenFromOutside) {
  Attempt attempt(ForwardSpec(), "token");
  NoBlobs blobs;
  const TaskFunction run_task = [&](TaskKind, const std::string&, const std::vector<BlobRef>&,
                                    TaskContext& context) -> absl::StatusOr<std::vector<BlobRef>> {
    const int64_t before = attempt.Progress().progress_ticks();
    context.progress(0.25, "layer 0");
    EXPECT_GT(attempt.Progress().progress_ticks(), before);
    EXPECT_EQ(attempt.Progress().fraction(), 0.25);
    EXPECT_EQ(attempt.Progress().phase(), "layer 0");
    attempt.Cancel();
    EXPECT_TRUE(context.cancelled);
    return absl::CancelledError("stopped");
  };
  EXPECT_THAT(RunAttempt(attempt, {run_task, blobs, {}}).status, StatusIs(absl::StatusCode::kCancelled));
}

TEST(TaskRunnerTest, NoExceptionEscapes) {
  const auto thrower = [](auto error) {
    return [error](TaskKind, const std::string&, const std::vector<BlobRef>&,
                   TaskContext&) -> absl::StatusOr<std::vector<BlobRef>> { throw error; };
  };
  EXPECT_THAT(RunTaskWith(thrower(std::bad_alloc())).status, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(RunTaskWith(thrower(std::runtime_error("broken"))).status,
              StatusIs(absl::StatusCode::kInternal, "broken"));
  EXPECT_THAT(RunTaskWith(thrower(42)).status, StatusIs(absl::StatusCode::kInternal));
}

TEST(TaskRunnerTest, AnUnknownKindIsUnimplemented) {
  v1::TaskSpec spec = ForwardSpec();
  spec.set_kind("dream");
  EXPECT_THAT(RunTaskWith({}, spec).status, StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(TaskRunnerTest, FailuresAreChargedToTheirClass) {
  const auto with_reason = [](absl::StatusCode code, absl::string_view reason) {
    return ClassifyFailure(MakeError(code, reason, "message"));
  };
  EXPECT_EQ(ClassifyFailure(absl::InvalidArgumentError("")), FailTaskRequest::PERMANENT);
  EXPECT_EQ(ClassifyFailure(absl::FailedPreconditionError("")), FailTaskRequest::PERMANENT);
  EXPECT_EQ(ClassifyFailure(absl::UnimplementedError("")), FailTaskRequest::PERMANENT);
  EXPECT_EQ(ClassifyFailure(absl::PermissionDeniedError("")), FailTaskRequest::PERMANENT);
  EXPECT_EQ(ClassifyFailure(absl::NotFoundError("")), FailTaskRequest::PERMANENT);
  EXPECT_EQ(with_reason(absl::StatusCode::kNotFound, "BLOB_NOT_FOUND"), FailTaskRequest::INFRASTRUCTURE);
  EXPECT_EQ(with_reason(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE"), FailTaskRequest::NUMERIC);
  EXPECT_EQ(ClassifyFailure(absl::ResourceExhaustedError("")), FailTaskRequest::OUT_OF_MEMORY);
  EXPECT_EQ(with_reason(absl::StatusCode::kResourceExhausted, "DISK_FULL"), FailTaskRequest::INFRASTRUCTURE);
  EXPECT_EQ(ClassifyFailure(absl::CancelledError("")), FailTaskRequest::DRAINED);
  EXPECT_EQ(ClassifyFailure(absl::InternalError("")), FailTaskRequest::INFRASTRUCTURE);
  EXPECT_EQ(ClassifyFailure(absl::UnavailableError("")), FailTaskRequest::INFRASTRUCTURE);
  EXPECT_EQ(ClassifyFailure(absl::DataLossError("")), FailTaskRequest::INFRASTRUCTURE);
}

TEST(TaskRunnerTest, MemoryNeedIsComparedWithTheLimit) {
  v1::TaskSpec spec;
  spec.set_memory_bytes(100);
  EXPECT_OK(CheckMemoryNeed(spec, 100));
  EXPECT_OK(CheckMemoryNeed(spec, 0));
  const absl::Status refused = CheckMemoryNeed(spec, 99);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(GetErrorInfo(refused).metadata.at("needed_bytes"), "100");
  EXPECT_EQ(GetErrorInfo(refused).metadata.at("available_bytes"), "99");
}

}  // namespace
}  // namespace quantmoe
