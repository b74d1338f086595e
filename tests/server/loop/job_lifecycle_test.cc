// Steps of a job that are on their way when it goes, and another one is created under its id: what comes of
// them is the old one's. The clock stands still, so that nothing but the jobs themselves tells them apart.
#include "server/loop/job_lifecycle.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "plan/graph/task_graph.h"
#include "plan/job/complete_input.h"
#include "plan/job/job_spec.h"
#include "proto/job_spec_proto.h"
#include "server/facts/task_rows.h"
#include "tests/server/fake_worker.h"
#include "tests/server/loop/loop_parts.h"
#include "tests/server/running_server.h"
#include "tests/server/store_intruder.h"
#include "tests/server/stored_blobs.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr char kId[] = "again";
constexpr char kName[] = "jobs/again";
// To remove them takes longer than to find that all results of a job are known.
constexpr int kManyFiles = 8'000;

class SameIdTest : public testing::Test {
 protected:
  static CoordinatorOptions Options(const Clock& clock) {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.clock = &clock;
    return options;
  }
  // Jobs of different sample counts have no task in common.
  grpc::Status Create(int samples) {
    v1::CreateJobRequest request = RunningServer::TinyJob();
    request.set_job_id(kId);
    request.mutable_job()->mutable_spec()->mutable_calibration()->set_samples(samples);
    v1::Job job;
    return server_.jobs().CreateJob(WithDeadline().get(), request, &job);
  }
  void CreateOne(int samples) {
    const grpc::Status status = Create(samples);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  void Delete() {
    v1::DeleteJobRequest request;
    request.set_name(kName);
    request.set_force(true);
    v1::DeleteJobResponse response;
    const grpc::Status status = server_.jobs().DeleteJob(WithDeadline().get(), request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  void Complete(FakeWorker& worker, const v1::Assign& assign, const std::vector<v1::TaskBlob>& outputs) {
    v1::CompleteTaskResponse::Outcome outcome = v1::CompleteTaskResponse::OUTCOME_UNSPECIFIED;
    EXPECT_TRUE(worker.Complete(AttemptOf(assign), outputs, &outcome).ok());
    EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED);
  }
  // What a publication may give: so many files of these bytes, and their manifest.
  std::vector<v1::TaskBlob> Artifact(FakeWorker& worker, const std::string& bytes, int files) {
    std::vector<v1::TaskBlob> outputs(2);
    outputs[0].set_role("file.0");
    *outputs[0].mutable_digest() = worker.Upload(bytes);
    nlohmann::json listed = nlohmann::json::array();
    for (int i = 0; i < files; ++i) {
      listed.push_back({{"path", absl::StrCat("file-", i)},
                        {"sha256", outputs[0].digest().sha256()},
                        {"size", outputs[0].digest().size_bytes()}});
    }
    outputs[1].set_role("manifest");
    *outputs[1].mutable_digest() = worker.Upload(nlohmann::json{{"files", listed}}.dump());
    return outputs;
  }
  void ExpectSuccess() {
    const v1::Job end = server_.AwaitEnd(kName);
    EXPECT_EQ(end.state(), v1::Job::SUCCEEDED) << end.error().message();
    EXPECT_EQ(ReadTestFile(server_.data_dir() + "/artifacts/again/model.safetensors"), "weights of publish");
  }

  FakeClock clock_;
  RunningServer server_{Options(clock_)};
};

TEST_F(SameIdTest, APlanOfTheOldJobIsNotTheNewOnes) {
  CreateOne(/*samples=*/2);
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign prepare = worker.AwaitAssign();
  std::vector<v1::TaskBlob> outputs = worker.Produce(prepare.task());
  *outputs[0].mutable_digest() = worker.Upload(PrepareSummaryToJson({1, 200, 1, 50}));
  DamageBlob(server_.data_dir(), outputs[0].digest());
  {
    const StillDisk disk(server_.data_dir(), StillDisk::For::kDamagedBlobs);
    Complete(worker, prepare, outputs);  // planning starts, and fails once the disk answers
    Delete();
    CreateOne(/*samples=*/3);
    worker.SetCredits(1);
    worker.Finish(worker.AwaitAssign());
  }
  worker.SetCredits(1);
  worker.RunToEnd();
  ExpectSuccess();
}

TEST_F(SameIdTest, APublicationOfTheOldJobIsNotTheNewOnes) {
  CreateOne(/*samples=*/2);
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign publish = worker.RunUntil("publish");
  const std::vector<v1::TaskBlob> outputs = Artifact(worker, "weights of the old job", /*files=*/1);
  DamageBlob(server_.data_dir(), outputs[0].digest());
  {
    const StillDisk disk(server_.data_dir(), StillDisk::For::kDamagedBlobs);
    Complete(worker, publish, outputs);
    Delete();
    CreateOne(/*samples=*/3);
    worker.SetCredits(1);
    worker.RunToEnd();
  }
  ExpectSuccess();
}

// What is published under an id goes with its job, and not with the next one of that name, which may publish
// while that is still being removed.
TEST_F(SameIdTest, TheArtifactOfTheNewJobDoesNotGoWithTheOldOnes) {
  CreateOne(/*samples=*/2);
  {
    FakeWorker worker(server_.coordinator().worker_address(), {.id = "first"});
    const v1::Assign publish = worker.RunUntil("publish");
    Complete(worker, publish, Artifact(worker, "the same bytes", kManyFiles));
  }
  EXPECT_EQ(server_.AwaitEnd(kName).state(), v1::Job::SUCCEEDED);
  FakeWorker worker(server_.coordinator().worker_address(), {.id = "second"});
  Delete();
  CreateOne(/*samples=*/2);
  const v1::Job end = server_.AwaitEnd(kName);
  EXPECT_EQ(end.state(), v1::Job::SUCCEEDED) << end.error().message();
  EXPECT_TRUE(AllCached(end));
  const std::filesystem::directory_iterator published(server_.data_dir() + "/artifacts/again");
  EXPECT_EQ(std::distance(std::filesystem::begin(published), std::filesystem::end(published)),
            kManyFiles + 1);
}

// The old job was deleted, or the commit of its creation failed.
class LookUpOfTheOldJobTest : public testing::TestWithParam<bool>, protected LoopParts {
 protected:
  LookUpOfTheOldJobTest() {
    {
      const LoopScope before_the_loop;
      EXPECT_OK(facts_.Reload());
    }
    const auto start = [this] {
      loop_thread.AssertHeld();
      jobs_.StartLookups();
    };
    loop_.Start({.tick = [] {},
                 .after_operations = start,
                 .before_commit = start,
                 .after_reload =
                     [this] {
                       loop_thread.AssertHeld();
                       jobs_.Resume();
                     },
                 .news = [](const std::set<std::string>&) {}},
                /*tick_interval=*/absl::Milliseconds(10));
  }
  ~LookUpOfTheOldJobTest() override {
    rooms_.Stop();
    loop_.Stop();
  }

  // On the loop; what its commit came to.
  absl::Status OnLoop(const std::function<void()>& operation) {
    absl::Status result;
    absl::Notification done;
    loop_.Post([&] {
      loop_thread.AssertHeld();
      operation();
      loop_.AfterCommit([&](const absl::Status& committed) {
        result = committed;
        done.Notify();
      });
    });
    EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
    return result;
  }
  // Its first task is READY, and an earlier result of it looked for.
  absl::Status CreateBound(int samples) {
    v1::JobSpec proto = RunningServer::TinyJob().job().spec();
    proto.mutable_calibration()->set_samples(samples);
    std::vector<FieldViolation> violations;
    JobSpec spec = JobSpecFromProto(proto, violations);
    CompleteInput(spec);
    const auto resolved = OpenJob(spec, {.roots = {QUANTMOE_TESTDATA}});
    EXPECT_OK(resolved);
    NewJob job;
    job.id = kId;
    job.spec = proto;
    job.resolved = std::make_shared<const ResolvedJob>(resolved.value());
    return OnLoop([&] {
      loop_thread.AssertHeld();
      EXPECT_OK(jobs_.Create(job));
      jobs_.Bind(kId, "class");
    });
  }
  absl::Status Delete() {
    return OnLoop([&] {
      loop_thread.AssertHeld();
      EXPECT_OK(jobs_.Delete(kId, /*force=*/true));
    });
  }
  // What the first task gave is remembered.
  void Remember() {
    v1::TaskBlob output;
    output.set_role("summary");
    *output.mutable_digest() = ToProto(blobs_->Put("known").value());
    EXPECT_OK(OnLoop([&] {
      loop_thread.AssertHeld();
      facts_.RememberResult(facts_.table().FindTask(kId, "prepare")->key(), {output});
    }));
  }
};
INSTANTIATE_TEST_SUITE_P(DeletedAndRefused, LookUpOfTheOldJobTest, testing::Bool());

TEST_P(LookUpOfTheOldJobTest, IsNotTheNewOnes) {
  const bool refused = GetParam();
  ASSERT_OK(CreateBound(/*samples=*/2));
  Remember();
  ASSERT_OK(Delete());
  absl::Notification go_on, answered;
  ASSERT_TRUE(rooms_.lookups.Post([&] { go_on.WaitForNotificationWithTimeout(absl::Seconds(30)); }));
  StoreIntruder intruder(dir_ / "data");
  if (refused) intruder.Run("ALTER TABLE event RENAME TO hidden");
  EXPECT_EQ(CreateBound(/*samples=*/2).ok(), !refused);
  if (refused) {
    intruder.Run("ALTER TABLE hidden RENAME TO event");
  } else {
    ASSERT_OK(Delete());
  }
  ASSERT_OK(CreateBound(/*samples=*/3));
  go_on.Notify();
  // The room has one thread, so both have been looked for.
  ASSERT_TRUE(rooms_.lookups.Post([&] { loop_.Post([&] { answered.Notify(); }); }));
  ASSERT_TRUE(answered.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_OK(OnLoop([&] {
    loop_thread.AssertHeld();
    const Task& prepare = *facts_.table().FindTask(kId, "prepare");
    EXPECT_EQ(prepare.record.state(), v1::Task::READY) << "nothing of it is known";
    EXPECT_FALSE(prepare.awaits_lookup) << "and it may run";
  }));
}

}  // namespace
}  // namespace quantmoe
