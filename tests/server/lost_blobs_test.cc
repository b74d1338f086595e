// Stored results that rot or vanish while jobs need them: they are computed again, and nothing else happens.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "storage/blob_store.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/stored_blobs.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::Contains;
using testing::HasSubstr;

std::filesystem::path PathOf(RunningServer& server, const v1::Digest& digest) {
  return PathOfBlob(server.data_dir(), digest);
}

void Damage(RunningServer& server, const v1::Digest& digest) { DamageBlob(server.data_dir(), digest); }

const v1::Digest& InputOf(const v1::Assign& assign, const std::string& role) {
  for (const v1::TaskBlob& input : assign.task().inputs()) {
    if (input.role().rfind(role, 0) == 0) return input.digest();
  }
  ADD_FAILURE() << LabelOf(assign) << " has no input " << role;
  return assign.task().inputs(0).digest();
}

absl::Status Mismatch(const v1::Digest& digest) {
  return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH", "damaged", {{"sha256", digest.sha256()}});
}

std::vector<std::string> LabelsWith(RunningServer& server, const std::string& job,
                                    v1::TaskChanged::Outcome outcome) {
  v1::ListJobEventsRequest request;
  request.set_name(job);
  v1::ListJobEventsResponse events;
  EXPECT_TRUE(server.jobs().ListJobEvents(WithDeadline().get(), request, &events).ok());
  std::vector<std::string> labels;
  for (const v1::JobEvent& event : events.events()) {
    if (event.task_changed().outcome() == outcome) labels.push_back(event.task_changed().task());
  }
  return labels;
}

size_t Quarantined(RunningServer& server) {
  const std::filesystem::directory_iterator files(server.data_dir() + "/blobs/quarantine");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

class LostBlobsTest : public testing::TestWithParam<bool> {
 protected:
  // Damages or deletes, as the parameter says.
  void Harm(const v1::Digest& digest) {
    if (GetParam()) {
      Damage(server_, digest);
    } else {
      std::filesystem::remove(PathOf(server_, digest));
    }
  }
  // What a worker finds that reads the blob.
  absl::Status Found(const v1::Digest& digest) const {
    if (GetParam()) return Mismatch(digest);
    return MakeError(absl::StatusCode::kNotFound, "BLOB_NOT_FOUND", "gone", {{"sha256", digest.sha256()}});
  }

  RunningServer server_;
};
INSTANTIATE_TEST_SUITE_P(DeletedAndDamaged, LostBlobsTest, testing::Bool());

TEST_P(LostBlobsTest, TheProducerOfALostInputRunsAgain) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign solve = worker.RunUntil("forward-l1-s0");
  const v1::Digest hidden = InputOf(solve, "hidden");
  Harm(hidden);
  worker.Fail(solve, Found(hidden));
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(LabelsWith(server_, name, v1::TaskChanged::REOPENED), testing::ElementsAre("forward-l0-s0"));
  EXPECT_EQ(Quarantined(server_), GetParam() ? 1u : 0u);
}

TEST_P(LostBlobsTest, ARetryDoesNotTrustCachedResultsThatAreLost) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign forward = worker.RunUntil("forward-l1-s0");
  const v1::Digest hidden = InputOf(forward, "hidden");
  worker.Fail(forward, v1::FailTaskRequest::PERMANENT);
  ASSERT_EQ(server_.AwaitEnd(name).state(), v1::Job::FAILED);
  Harm(hidden);
  v1::RetryJobRequest request;
  request.set_name(name);
  v1::Job retried;
  ASSERT_TRUE(server_.jobs().RetryJob(WithDeadline().get(), request, &retried).ok());
  worker.SetCredits(1);
  v1::Assign next = worker.AwaitAssign();
  while (LabelOf(next) != "forward-l0-s0") {
    for (const v1::TaskBlob& input : next.task().inputs()) {
      if (input.digest().sha256() != hidden.sha256()) continue;
      worker.Fail(next, Found(hidden));
      next.clear_token();
    }
    if (!next.token().empty()) worker.Finish(next);
    worker.SetCredits(1);
    next = worker.AwaitAssign();
  }
  worker.Finish(next);
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(retried.name()).state(), v1::Job::SUCCEEDED);
}

TEST_P(LostBlobsTest, ATensorThatOnlyThePlanNamesIsComputedAgain) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign solve = worker.RunUntil("solve-l0-p0");
  const std::vector<v1::TaskBlob> outputs = worker.Produce(solve.task());
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(solve), outputs, &outcome).ok());
  worker.SetCredits(1);
  const v1::Assign publish = worker.RunUntil("publish");
  const v1::Digest tensors = outputs.front().digest();
  for (const v1::TaskBlob& input : publish.task().inputs()) {
    ASSERT_NE(input.digest().sha256(), tensors.sha256()) << "the task names it itself";
  }
  Harm(tensors);
  worker.Fail(publish, Found(tensors));
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(LabelsWith(server_, name, v1::TaskChanged::REOPENED), testing::ElementsAre("solve-l0-p0"));
  EXPECT_TRUE(std::filesystem::exists(PathOf(server_, tensors)));
}

TEST_P(LostBlobsTest, AllThatIsLostOfOneKindIsFoundByTheFirstThatIsMissed) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  std::vector<v1::Digest> tensors;
  v1::Assign next = worker.AwaitAssign();
  while (LabelOf(next) != "publish") {
    const std::vector<v1::TaskBlob> outputs = worker.Produce(next.task());
    if (next.task().kind() == "solve") tensors.push_back(outputs.front().digest());
    v1::CompleteTaskResponse::Outcome outcome;
    ASSERT_TRUE(worker.Complete(AttemptOf(next), outputs, &outcome).ok());
    worker.SetCredits(1);
    next = worker.AwaitAssign();
  }
  ASSERT_GE(tensors.size(), 2u);
  for (const v1::Digest& lost : tensors) Harm(lost);
  worker.Fail(next, Found(tensors.back()));
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(LabelsWith(server_, name, v1::TaskChanged::REOPENED).size(), tensors.size());
}

// The input of the task that failed is intact; what went into it is lost as well.
TEST_P(LostBlobsTest, AnInputOfALostInputIsComputedAgainToo) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign first = worker.RunUntil("forward-l0-s0");
  const v1::Digest earlier = InputOf(first, "hidden");
  worker.Finish(first);
  worker.SetCredits(1);
  const v1::Assign second = worker.RunUntil("forward-l1-s0");
  const v1::Digest direct = InputOf(second, "hidden");
  Harm(earlier);
  Harm(direct);
  worker.Fail(second, Found(direct));
  worker.SetCredits(1);
  v1::Assign again = worker.RunUntil("forward-l0-s0");
  EXPECT_EQ(InputOf(again, "hidden").sha256(), earlier.sha256());
  worker.Fail(again, Found(earlier));
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(LabelsWith(server_, name, v1::TaskChanged::REOPENED),
              testing::ElementsAre("forward-l0-s0", "prepare"));
}

class LostStepInputTest : public testing::Test {
 protected:
  RunningServer server_;
};

TEST_F(LostStepInputTest, PlanningHasALostSummaryMadeAgain) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign prepare = worker.AwaitAssign();
  const std::vector<v1::TaskBlob> outputs = worker.Produce(prepare.task());
  for (const v1::TaskBlob& output : outputs) {
    if (output.role() == "summary") Damage(server_, output.digest());
  }
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(prepare), outputs, &outcome).ok());
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(LabelsWith(server_, name, v1::TaskChanged::REOPENED), testing::ElementsAre("prepare"));
}

TEST_F(LostStepInputTest, ThePublicationHasALostFileMadeAgain) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign publish = worker.RunUntil("publish");
  const std::vector<v1::TaskBlob> outputs = worker.Produce(publish.task());
  Damage(server_, outputs.back().digest());
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(publish), outputs, &outcome).ok());
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(LabelsWith(server_, name, v1::TaskChanged::REOPENED), Contains("publish"));
}

TEST(LostTextTest, ShippedTextComesBackAndAnUploadedOneIsAskedFor) {
  RunningServer server;
  const std::string shipped = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  v1::Assign prepare = worker.AwaitAssign();
  const v1::Digest text = InputOf(prepare, "");
  std::filesystem::remove(PathOf(server, text));
  worker.Fail(prepare, Mismatch(text));
  worker.SetCredits(1);
  prepare = worker.AwaitAssign();
  EXPECT_EQ(LabelOf(prepare), "prepare");
  EXPECT_TRUE(std::filesystem::exists(PathOf(server, text)));
  worker.Fail(prepare, v1::FailTaskRequest::PERMANENT);

  v1::CreateJobRequest request = RunningServer::TinyJob();
  const v1::Digest uploaded = worker.Upload("a text of the user");
  *request.mutable_job()->mutable_spec()->mutable_calibration()->mutable_text() = uploaded;
  v1::Job job;
  ASSERT_TRUE(server.jobs().CreateJob(WithDeadline().get(), request, &job).ok());
  worker.SetCredits(1);
  prepare = worker.AwaitAssign();
  Damage(server, uploaded);
  worker.Fail(prepare, Mismatch(uploaded));
  job = server.AwaitEnd(job.name());
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_THAT(FromRpcStatus(job.error()), HasReason("BLOB_LOST"));
  EXPECT_THAT(job.error().message(), HasSubstr(uploaded.sha256()));
}

TEST(LostBlobTest, ABlobThatOnlyTheWorkerLacksIsTheWorkersShortage) {
  FakeClock clock;
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  FakeWorker bad(server.coordinator().worker_address(), {.id = "bad"});
  const v1::Assign prepare = bad.AwaitAssign();
  FakeWorker good(server.coordinator().worker_address(), {.id = "good"});
  bad.Fail(prepare, Mismatch(InputOf(prepare, "")));
  bad.SetCredits(1);
  server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
  clock.Advance(absl::Seconds(2));  // the backoff
  EXPECT_EQ(LabelOf(good.AwaitAssign()), "prepare");
  EXPECT_EQ(Quarantined(server), 0u);
}

// Folders of the blobs that somebody removes while the coordinator runs; empty: all that `blobs` holds.
class RemovedFoldersTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Folders, RemovedFoldersTest, testing::Values("", "sha256", "staging", "quarantine"));

TEST_P(RemovedFoldersTest, AreMadeAgainAndTheJobEnds) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign forward = worker.RunUntil("forward-l0-s0");
  const v1::Digest hidden = InputOf(forward, "hidden");
  const std::filesystem::path blobs = server.data_dir() + "/blobs";
  const std::string probe = ReadTestFile(blobs / "probe");
  ASSERT_NE(probe, "");
  for (const auto& entry : std::filesystem::directory_iterator(blobs)) {
    const std::string folder = entry.path().filename();
    if (folder == GetParam() || *GetParam() == '\0') std::filesystem::remove_all(entry);
  }
  if (std::filesystem::exists(PathOf(server, hidden))) {
    worker.Finish(forward);
  } else {
    worker.Fail(forward, MakeError(absl::StatusCode::kNotFound, "BLOB_NOT_FOUND", "gone",
                                   {{"sha256", hidden.sha256()}}));
  }
  worker.SetCredits(1);
  worker.RunToEnd();
  const v1::Job ended = server.AwaitEnd(name);
  EXPECT_EQ(ended.state(), v1::Job::SUCCEEDED) << ended.error().message();
  v1::Job next;
  const grpc::Status created = server.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &next);
  EXPECT_TRUE(created.ok()) << created.error_message();
  // By this file workers see that they share the folder.
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (ReadTestFile(blobs / "probe") != probe && absl::Now() < end) {
  }
  EXPECT_EQ(ReadTestFile(blobs / "probe"), probe);
}

TEST(RemovedQuarantineTest, ADamagedBlobIsSetAsideInAFolderThatIsMadeAgain) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign forward = worker.RunUntil("forward-l0-s0");
  const v1::Digest hidden = InputOf(forward, "hidden");
  std::filesystem::remove(server.data_dir() + "/blobs/quarantine");
  Damage(server, hidden);
  worker.Fail(forward, Mismatch(hidden));
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Quarantined(server), 1u);
}

}  // namespace
}  // namespace quantmoe
