// Earlier results are found in a room: many at a time, and a disk that stands still holds up nothing else.
#include "server/loop/result_lookup.h"

#include <atomic>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/facts/sqlite_store.h"
#include "server/facts/task_rows.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/server/store_intruder.h"
#include "tests/server/stored_blobs.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::IsEmpty;
using testing::SizeIs;
using Answers = std::vector<ResultLookup::Answer>;

class ResultLookupTest : public testing::Test {
 protected:
  ResultLookupTest() {
    loop_.Start({.tick = [] {},
                 .after_operations =
                     [this] {
                       loop_thread.AssertHeld();
                       lookup_.Start();
                     },
                 .before_commit = [] {},
                 .after_reload = [] {},
                 .news = [](const std::set<std::string>&) {}},
                /*tick_interval=*/absl::Milliseconds(10));
  }
  ~ResultLookupTest() override {
    room_.Stop();
    loop_.Stop();
  }

  // Remembers that a task of this key gave a blob of these bytes.
  v1::Digest Remember(const std::string& key, const std::string& bytes) {
    v1::TaskBlob output;
    output.set_role("table");
    *output.mutable_digest() = ToProto(*blobs_->Put(bytes));
    const LoopScope before_the_loop_commits;
    EXPECT_OK(store_->Commit({PutCachedResult{key, {output}, absl::UnixEpoch()}}));
    return output.digest();
  }
  // All of them in one operation.
  void Want(const std::vector<std::string>& keys) {
    loop_.Post([this, keys] {
      loop_thread.AssertHeld();
      for (const std::string& key : keys) lookup_.Want({"job", absl::StrCat("task of ", key), key});
    });
  }
  // The batches in which so many answers came.
  std::vector<Answers> Await(size_t answers) {
    const auto complete = [this, answers]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      size_t count = 0;
      for (const Answers& batch : batches_) count += batch.size();
      return count >= answers;
    };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&complete), absl::Seconds(30)));
    return std::exchange(batches_, {});
  }

  const TemporaryDirectory dir_;
  FakeClock clock_;
  std::unique_ptr<SqliteStore> store_ = *SqliteStore::Open(dir_ / "data", absl::UnixEpoch());
  std::unique_ptr<LocalBlobStore> blobs_ = *LocalBlobStore::Open(dir_ / "blobs");
  Metrics metrics_{"0", /*term=*/1};
  FactsRecorder facts_{*store_, clock_};
  CommitLoop loop_{*store_, facts_, metrics_};
  Executor room_{"lookups", /*threads=*/1, /*max_queued=*/1};
  absl::Mutex mutex_;
  std::vector<Answers> batches_;
  ResultLookup lookup_{*store_, *blobs_, loop_, room_, [this](const Answers& answers) {
                         loop_thread.AssertHeld();
                         absl::MutexLock lock(&mutex_);
                         batches_.push_back(answers);
                       }};
};

TEST_F(ResultLookupTest, WhatAnOperationWantsIsAnsweredTogether) {
  const v1::Digest known = Remember("known", "bytes");
  Want({"known", "unknown", "known"});
  const std::vector<Answers> batches = Await(3);
  ASSERT_THAT(batches, SizeIs(1));
  const Answers& answers = batches[0];
  ASSERT_THAT(answers, SizeIs(3));
  for (const size_t found : {0, 2}) {
    ASSERT_THAT(answers[found].outputs, SizeIs(1));
    EXPECT_EQ(answers[found].outputs[0].digest().sha256(), known.sha256());
    EXPECT_FALSE(answers[found].lost);
  }
  EXPECT_EQ(answers[1].wanted.task, "task of unknown");
  EXPECT_THAT(answers[1].outputs, IsEmpty());
  EXPECT_FALSE(answers[1].lost);
}

TEST_F(ResultLookupTest, AResultWithoutItsBlobsIsLost) {
  std::filesystem::remove(blobs_->PathOf(FromProto(Remember("k", "bytes"))));
  Want({"k"});
  const std::vector<Answers> batches = Await(1);
  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(batches[0][0].outputs, IsEmpty());
  EXPECT_TRUE(batches[0][0].lost);
}

TEST_F(ResultLookupTest, AStoreThatDoesNotAnswerHasLostNothing) {
  Remember("k", "bytes");
  std::filesystem::remove(dir_ / "blobs/lock");
  std::filesystem::create_directory(dir_ / "blobs/lock");  // no blob can be looked at
  Want({"k"});
  const Answers blobs_failed = Await(1)[0];
  EXPECT_THAT(blobs_failed[0].outputs, IsEmpty());
  EXPECT_FALSE(blobs_failed[0].lost) << "so that the result is not forgotten";

  StoreIntruder(dir_ / "data").Run("DROP TABLE task_cache");
  Want({"k", "other"});
  const Answers store_failed = Await(2)[0];
  for (const ResultLookup::Answer& answer : store_failed) {
    EXPECT_THAT(answer.outputs, IsEmpty());
    EXPECT_FALSE(answer.lost);
  }
}

TEST_F(ResultLookupTest, WhatFindsTheRoomFullIsAskedForAgain) {
  absl::Notification busy, go_on;
  ASSERT_TRUE(room_.Post([&] {
    busy.Notify();
    go_on.WaitForNotificationWithTimeout(absl::Seconds(30));
  }));
  ASSERT_TRUE(busy.WaitForNotificationWithTimeout(absl::Seconds(30)));
  ASSERT_TRUE(room_.Post([] {}));
  ASSERT_FALSE(room_.Post([] {}));
  absl::Notification wanted;
  Want({"early"});
  loop_.Post([&] { wanted.Notify(); });
  ASSERT_TRUE(wanted.WaitForNotificationWithTimeout(absl::Seconds(30)));
  go_on.Notify();
  Want({"late"});
  std::vector<std::string> keys;
  for (const Answers& batch : Await(2)) {
    for (const ResultLookup::Answer& answer : batch) keys.push_back(answer.wanted.key);
  }
  EXPECT_THAT(keys, testing::UnorderedElementsAre("early", "late"));
}

// Stories.

TEST(StillDiskTest, ALookUpThatWaitsHoldsUpNobody) {
  RunningServer server;
  const std::string first = server.CreateTinyJob();
  FakeWorker(server.coordinator().worker_address(), {.id = "first"}).RunToEnd();
  server.AwaitEnd(first);
  const std::string second = server.CreateTinyJob();
  {
    const StillDisk disk(server.data_dir());
    // Binds the job, so that its first task is looked for.
    FakeWorker worker(server.coordinator().worker_address(), {.id = "second"});
    v1::GetJobRequest request;
    request.set_name(second);
    v1::Job job;
    const grpc::Status status = server.jobs().GetJob(WithDeadline(absl::Seconds(10)).get(), request, &job);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(job.state(), v1::Job::QUEUED) << "nothing runs that may be known";
    server.AwaitJob(second, [](const v1::Job& now) {
      return now.waiting().reason() == "the coordinator looks for results of equal tasks";
    });
  }
  const v1::Job end = server.AwaitEnd(second);
  EXPECT_EQ(end.state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(AllCached(end));
}

TEST(StillDiskTest, AnotherCoordinatorLooksAgain) {
  const TemporaryDirectory dir;
  const auto jobs_of = [](const ServerProcess& server) {
    return v1::JobService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  };
  const auto await_end = [&jobs_of](const ServerProcess& server, const std::string& name) {
    const auto jobs = jobs_of(server);
    v1::WatchJobRequest watched;
    watched.set_name(name);
    const auto context = WithDeadline(absl::Seconds(60));
    const auto watch = jobs->WatchJob(context.get(), watched);
    v1::JobEvent event;
    while (watch->Read(&event)) {
    }
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(jobs->GetJob(WithDeadline().get(), request, &job).ok());
    return job;
  };
  v1::Job first, second;
  std::optional<StillDisk> disk;
  {
    ServerProcess server(dir / "data", ServerProcess::Options{});
    ASSERT_TRUE(server.listens());
    ASSERT_TRUE(jobs_of(server)->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &first).ok());
    FakeWorker(server.worker_address(), {.id = "first"}).RunToEnd();
    EXPECT_EQ(await_end(server, first.name()).state(), v1::Job::SUCCEEDED);
    ASSERT_TRUE(jobs_of(server)->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &second).ok());
    disk.emplace(dir / "data");
    FakeWorker worker(server.worker_address(), {.id = "second"});
    worker.Heartbeat({}, 1);  // what its hello has led to is committed
  }
  // The coordinator was killed while it waited for the disk.
  disk.reset();
  ServerProcess server(dir / "data", ServerProcess::Options{});
  ASSERT_TRUE(server.listens());
  const v1::Job end = await_end(server, second.name());
  EXPECT_EQ(end.state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(AllCached(end)) << "no worker was there";
}

// Look-ups that are on their way when a commit fails, so that the facts are read again.
class LookUpsAndCommitsTest : public testing::Test {
 protected:
  LookUpsAndCommitsTest() {
    const std::string first = server_.CreateTinyJob();
    FakeWorker(server_.coordinator().worker_address(), {.id = "first"}).RunToEnd();
    server_.AwaitEnd(first);
  }

  void AwaitLookUp(const std::string& job) {
    server_.AwaitJob(job, [](const v1::Job& now) {
      return now.waiting().reason() == "the coordinator looks for results of equal tasks";
    });
  }
  // One of another job than the one that waits.
  void FailACommit(const std::string& other) {
    StoreIntruder intruder(server_.data_dir());
    intruder.Run("ALTER TABLE event RENAME TO hidden");
    v1::CancelJobRequest request;
    request.set_name(other);
    v1::Job job;
    const grpc::Status refused = server_.jobs().CancelJob(WithDeadline().get(), request, &job);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
    intruder.Run("ALTER TABLE hidden RENAME TO event");
  }
  std::vector<std::string> TasksThatWereCached(const std::string& job) {
    v1::ListJobEventsRequest request;
    request.set_name(job);
    v1::ListJobEventsResponse events;
    EXPECT_TRUE(server_.jobs().ListJobEvents(WithDeadline().get(), request, &events).ok());
    std::vector<std::string> tasks;
    for (const v1::JobEvent& event : events.events()) {
      if (event.task_changed().outcome() == v1::TaskChanged::CACHED)
        tasks.push_back(event.task_changed().task());
    }
    return tasks;
  }

  RunningServer server_;
};

TEST_F(LookUpsAndCommitsTest, WhatWasAskedBeforeAFailedCommitIsAskedAgainAndTakenOnce) {
  const std::string second = server_.CreateTinyJob(), other = server_.CreateTinyJob();
  std::optional<FakeWorker> worker;
  {
    const StillDisk disk(server_.data_dir());
    worker.emplace(server_.coordinator().worker_address(), FakeWorker::Options{.id = "second"});
    AwaitLookUp(second);
    FailACommit(other);
    FailACommit(other);
  }
  const v1::Job end = server_.AwaitEnd(second);
  EXPECT_EQ(end.state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(AllCached(end));
  const std::vector<std::string> tasks = TasksThatWereCached(second);
  EXPECT_EQ(std::set<std::string>(tasks.begin(), tasks.end()).size(), tasks.size()) << "none twice";
  EXPECT_EQ(server_.AwaitEnd(other).state(), v1::Job::SUCCEEDED) << "it was not cancelled";
}

TEST_F(LookUpsAndCommitsTest, AnAnswerThatIsNotCommittedComesAgain) {
  const std::string second = server_.CreateTinyJob();
  StoreIntruder intruder(server_.data_dir());
  std::optional<FakeWorker> worker;
  const int errors = StoreErrors(server_);
  {
    const StillDisk disk(server_.data_dir());
    worker.emplace(server_.coordinator().worker_address(), FakeWorker::Options{.id = "second"});
    AwaitLookUp(second);
    intruder.Run(
        "CREATE TRIGGER refuse BEFORE UPDATE ON task_cache BEGIN SELECT RAISE(ABORT, 'refused'); END");
  }
  AwaitStoreErrors(server_, errors);
  intruder.Run("DROP TRIGGER refuse");
  const v1::Job end = server_.AwaitEnd(second);
  EXPECT_EQ(end.state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(AllCached(end));
}

TEST(StillDiskTest, ALookAtTheDiskHoldsUpNobody) {
  std::atomic<bool> still{false};
  absl::Notification looking, go_on;
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.write_error = [&](const std::string&) {
    if (!still.exchange(false)) return 0;
    looking.Notify();
    go_on.WaitForNotificationWithTimeout(absl::Seconds(60));
    return 0;
  };
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  still = true;
  ASSERT_TRUE(looking.WaitForNotificationWithTimeout(absl::Seconds(30)));
  FakeWorker worker(server.coordinator().worker_address());
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
  EXPECT_EQ(server.GetJob(name).state(), v1::Job::RUNNING);
  go_on.Notify();
}

}  // namespace
}  // namespace quantmoe
