// Texts and items of a job that are named by URI, on a real server and an imitated Hub.
#include "server/wire/job_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "storage/digest.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_hub.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;

class JobDataTest : public testing::Test {
 protected:
  JobDataTest() : server_(Options()) {
    hub_.AddDataFile("calibration.txt", kText, /*large=*/false);
    hub_.AddDataFile("tasks/copa.jsonl", std::string(150'000, 'c'), /*large=*/true);
  }

  CoordinatorOptions Options() {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.models.roots = {"hf://datasets/owner"};
    options.models.hub = {
        .endpoint = hub_.endpoint(), .token_from = "env:QUANTMOE_NO_TOKEN", .cache_dir = cache_.path()};
    return options;
  }
  static std::string Uri(const std::string& rest) { return "hf://datasets/owner/data" + rest; }
  // A job with both files.
  static v1::CreateJobRequest Request() {
    v1::CreateJobRequest request = RunningServer::TinyJob();
    v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
    spec.mutable_calibration()->clear_text();
    spec.mutable_calibration()->set_text_uri(Uri("/calibration.txt"));
    spec.mutable_evaluation()->set_skip(false);
    v1::BenchmarkTask& task = *spec.mutable_evaluation()->add_tasks();
    task.set_name("copa");
    task.set_limit(10);
    task.set_data_uri(Uri("@v1.beta/tasks/copa.jsonl"));
    return request;
  }
  absl::Status Create(const v1::CreateJobRequest& request, v1::Job* job) {
    return FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), request, job));
  }
  absl::Status Create(const v1::CreateJobRequest& request) {
    v1::Job job;
    return Create(request, &job);
  }

  const std::string kText = "some text";
  const TemporaryDirectory cache_;
  FakeHub hub_;
  RunningServer server_;
};

TEST_F(JobDataTest, TheSpecHoldsDigestAndCommitAndFilesAreFetchedOnce) {
  v1::CreateJobRequest request = Request();
  request.set_request_id("r-1");
  v1::Job job;
  ASSERT_OK(Create(request, &job));
  const v1::Calibration& calibration = job.spec().calibration();
  EXPECT_EQ(calibration.text().sha256(), DigestOf(kText).sha256);
  EXPECT_EQ(calibration.text().size_bytes(), static_cast<int64_t>(kText.size()));
  EXPECT_EQ(calibration.text_uri(), Uri(std::string("@") + FakeHub::kCommit + "/calibration.txt"));
  const v1::BenchmarkTask& task = job.spec().evaluation().tasks(0);
  EXPECT_EQ(task.data().size_bytes(), 150'000);
  EXPECT_EQ(task.limit(), 10);
  EXPECT_EQ(hub_.file_bytes_sent(), 150'000 + static_cast<int64_t>(kText.size()));
  const size_t asked = hub_.requests().size();
  ASSERT_OK(Create(request));  // the same request again
  v1::CreateJobRequest pinned;
  *pinned.mutable_job()->mutable_spec() = job.spec();
  ASSERT_OK(Create(pinned));  // all digests are known
  EXPECT_EQ(hub_.requests().size(), asked);
}

TEST_F(JobDataTest, OtherBytesThanTheDigestSaysAreRefused) {
  v1::CreateJobRequest request = Request();
  v1::Digest& digest = *request.mutable_job()->mutable_spec()->mutable_calibration()->mutable_text();
  digest.set_sha256(DigestOf("other text").sha256);
  digest.set_size_bytes(10);
  EXPECT_THAT(Create(request), HasReason("DATA_CHANGED"));
}

TEST_F(JobDataTest, BadUrisAndMissingFilesAreNamedWithTheirFields) {
  v1::CreateJobRequest request = Request();
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  spec.mutable_calibration()->set_text_uri("hf://owner/model/a.txt");
  spec.mutable_evaluation()->mutable_tasks(0)->set_data_uri("hf://datasets/owner");
  const absl::Status bad = Create(request);
  EXPECT_THAT(bad, HasReason("INVALID_FIELD"));
  EXPECT_THAT(
      GetErrorInfo(bad).violations,
      testing::ElementsAre(testing::Field(&FieldViolation::field, "spec.calibration.text_uri"),
                           testing::Field(&FieldViolation::field, "spec.evaluation.tasks[0].data_uri")));
  spec.mutable_calibration()->set_text_uri(Uri("/nowhere.txt"));
  spec.mutable_evaluation()->clear_tasks();
  const absl::Status missing = Create(request);
  EXPECT_THAT(missing, HasReason("DATA_NOT_FOUND"));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("spec.calibration.text_uri"));
  spec.mutable_calibration()->set_text_uri("hf://datasets/other/data/a.txt");
  EXPECT_THAT(Create(request), HasReason("SOURCE_NOT_ALLOWED"));
}

}  // namespace
}  // namespace quantmoe
