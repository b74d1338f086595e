// Something of the user's lies where an artifact would be published.
#include "server/loop/publisher.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class OccupiedPlaceTest : public testing::Test {
 protected:
  absl::Status Create(const std::string& id, bool validate_only = false) {
    v1::CreateJobRequest request = RunningServer::TinyJob();
    request.set_job_id(id);
    request.set_validate_only(validate_only);
    v1::Job job;
    return FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), request, &job));
  }
  std::string Path(const std::string& name) const { return server_.data_dir() + "/artifacts/" + name; }

  RunningServer server_;
};

TEST_F(OccupiedPlaceTest, IsFoundBeforeAnyWork) {
  for (const char* foreign : {"mine/notes.txt", "mine", ".mine.partial/notes.txt"}) {
    WriteTestFile(Path(foreign), "the user's");
    const std::string in_the_way = Path(std::filesystem::path(foreign).begin()->string());
    for (const bool validate_only : {true, false}) {
      const absl::Status refused = Create("mine", validate_only);
      EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(refused.message()), HasSubstr(in_the_way));
    }
    EXPECT_OK(Create("mine-" + std::to_string(std::string(foreign).size()))) << "another name is free";
    EXPECT_EQ(ReadTestFile(Path(foreign)), "the user's");
    std::filesystem::remove_all(in_the_way);
  }
  EXPECT_OK(Create("mine"));
}

TEST_F(OccupiedPlaceTest, OfAJobThatExistsIsThatJobs) {
  ASSERT_OK(Create("mine"));
  WriteTestFile(Path("mine/notes.txt"), "the user's");
  EXPECT_THAT(Create("mine"), HasReason("JOB_ALREADY_EXISTS"));
}

TEST_F(OccupiedPlaceTest, OneThatAppearsMeanwhileCostsNoWork) {
  ASSERT_OK(Create("mine"));
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign publish = worker.RunUntil("publish");
  WriteTestFile(Path("mine/notes.txt"), "the user's");
  worker.Finish(publish);
  const v1::Job failed = server_.AwaitEnd("jobs/mine");
  EXPECT_EQ(failed.state(), v1::Job::FAILED);
  EXPECT_THAT(FromRpcStatus(failed.error()), HasReason("OUTPUT_EXISTS"));
  EXPECT_THAT(failed.error().message(), AllOf(HasSubstr(Path("mine")), HasSubstr("a retry of the job")));
  EXPECT_EQ(ReadTestFile(Path("mine/notes.txt")), "the user's");

  v1::RetryJobRequest request;
  request.set_name(failed.name());
  v1::Job retried;
  ASSERT_TRUE(server_.jobs().RetryJob(WithDeadline().get(), request, &retried).ok());
  FakeWorker idle(server_.coordinator().worker_address(), {.id = "idle"});
  const v1::Job ended = server_.AwaitEnd(retried.name());
  EXPECT_EQ(ended.state(), v1::Job::SUCCEEDED) << ended.error().message();
  EXPECT_TRUE(AllCached(ended));
  EXPECT_TRUE(std::filesystem::exists(Path(ended.name().substr(5)) + "/model.safetensors"));
  EXPECT_EQ(ReadTestFile(Path("mine/notes.txt")), "the user's");
}

}  // namespace
}  // namespace quantmoe
