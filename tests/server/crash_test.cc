// The coordinator dies at the worst moments. The artifact must be the one of a calm run, and the log must
// have no gap.

#include <filesystem>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

constexpr int kKilled = 137;

class CrashTest : public testing::TestWithParam<const char*> {
 protected:
  static std::unique_ptr<v1::JobService::Stub> Jobs(const ServerProcess& server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::JobService::NewStub(
        grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments));
  }

  // Asks for the job until somebody answers; repeating is safe.
  static bool CreateJob(const ServerProcess& server) {
    v1::CreateJobRequest request = RunningServer::TinyJob();
    request.set_job_id("job");
    request.set_request_id("request");
    v1::Job job;
    return Jobs(server)->CreateJob(WithDeadline().get(), request, &job).ok();
  }

  // Works until `publish` is done or the server is gone. What was assigned and not answered is done and sent
  // again first.
  void Work(const ServerProcess& server) {
    if (published_) return;
    std::vector<v1::AttemptRef> held;
    if (unanswered_.has_value()) held.push_back(AttemptOf(*unanswered_));
    FakeWorker worker(server.worker_address(), {.credits = 0, .held = held});
    while (true) {
      if (unanswered_.has_value()) {
        const auto outputs =
            worker.Produce(unanswered_->task());  // the same bytes, should they be there already
        if (worker.lost_server()) return;
        v1::CompleteTaskResponse::Outcome outcome;
        if (!worker.Complete(AttemptOf(*unanswered_), outputs, &outcome).ok()) return;
        EXPECT_NE(outcome, v1::CompleteTaskResponse::STALE) << unanswered_->task().task();
        published_ = unanswered_->task().kind() == "publish";
        unanswered_.reset();
        if (published_) return;
      }
      worker.SetCredits(1);
      unanswered_ = worker.NextAssign();
      if (!unanswered_.has_value()) return;
    }
  }

  // Follows the job to its end; false when the server is gone. Checks the log.
  static bool Follow(const ServerProcess& server) {
    v1::WatchJobRequest request;
    request.set_name("jobs/job");
    auto context = WithDeadline(absl::Seconds(60));
    auto stubs = Jobs(server);
    auto stream = stubs->WatchJob(context.get(), request);
    v1::JobEvent event;
    int64_t seq = 0;
    while (stream->Read(&event)) {
      if (event.seq() == 0) continue;
      EXPECT_EQ(event.seq(), ++seq);
    }
    return stream->Finish().ok();
  }

  static std::string ManifestOf(const ServerProcess& server) {
    v1::GetArtifactRequest request;
    request.set_name("artifacts/job");
    v1::Artifact artifact;
    auto stub = v1::ArtifactService::NewStub(
        grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
    EXPECT_TRUE(stub->GetArtifact(WithDeadline().get(), request, &artifact).ok());
    EXPECT_TRUE(std::filesystem::exists(artifact.path() + "/artifact.json"));
    return artifact.manifest_sha256();
  }

  std::string RunCalmly(const std::string& dir) {
    ServerProcess server(dir, "");
    EXPECT_TRUE(CreateJob(server));
    Work(server);
    EXPECT_TRUE(Follow(server));
    return ManifestOf(server);
  }

  const TemporaryDirectory root_;
  bool published_ = false;
  std::optional<v1::Assign> unanswered_;
};

TEST_P(CrashTest, LosesNothing) {
  const std::string dir = root_ / "data";
  {
    ServerProcess server(dir, GetParam());
    if (server.listens() && CreateJob(server)) {
      Work(server);
      Follow(server);
    }
    ASSERT_EQ(server.AwaitExit(), kKilled) << "the crash point was not reached";
  }
  ServerProcess server(dir, "");
  ASSERT_TRUE(server.listens());
  ASSERT_TRUE(CreateJob(server));
  Work(server);
  ASSERT_TRUE(Follow(server));
  const std::string manifest = ManifestOf(server);
  published_ = false;
  EXPECT_EQ(manifest, RunCalmly(root_ / "calm"));
}

INSTANTIATE_TEST_SUITE_P(Points, CrashTest,
                         testing::Values("before-migration-commit", "after-term", "recovery-begun",
                                         "before-commit", "after-commit", "after-create-commit",
                                         "before-commit:40", "after-commit:40", "before-reply:70",
                                         "before-complete-reply:1", "before-complete-reply:20",
                                         "publish-file-placed", "before-publish-rename",
                                         "after-publish-rename"),
                         [](const auto& point) {
                           std::string name = point.param;
                           for (char& c : name) c = c == '-' || c == ':' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace quantmoe
