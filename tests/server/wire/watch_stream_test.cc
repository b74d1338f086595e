// Clients that do not read what they are sent, over a transport that the test plays: nothing leaves before
// the test reads it, so no buffer of a socket and no clock has a part in it.
#include "server/wire/watch_stream.h"

#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/grpc_status.h"
#include "server/facts/resource_names.h"
#include "server/wire/write_queue_reactor.h"
#include "tests/server/loop/loop_parts.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int kEvents = 1000;
constexpr int64_t kPage = 256;
constexpr int64_t kQueue = 1024;
constexpr char kJob[] = "job";

using Reactor = grpc::ServerWriteReactor<v1::JobEvent>;
using Queue = WriteQueueReactor<Reactor, v1::JobEvent>;

bool Await(const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// gRPC's side of a stream whose client takes a message when Read is called, and not before.
class HeldWriter : public grpc::ServerCallbackWriter<v1::JobEvent> {
 public:
  explicit HeldWriter(Reactor* reactor) : reactor_(reactor) { BindReactor(reactor); }
  ~HeldWriter() override { End(); }

  bool Offers() {
    absl::MutexLock lock(&mutex_);
    return message_ != nullptr;
  }
  // Waits for a message and takes it; none once the stream is over.
  std::optional<v1::JobEvent> Read() {
    if (!Await([this] { return Offers() || status(); }) || !Offers()) return std::nullopt;
    v1::JobEvent event;
    {
      absl::MutexLock lock(&mutex_);
      event = *std::exchange(message_, nullptr);
    }
    reactor_->OnWriteDone(/*ok=*/true);
    return event;
  }
  std::optional<absl::Status> status() {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  // The connection is gone: what is being written fails.
  void End() {
    if (reactor_ == nullptr) return;
    reactor_->OnCancel();
    if (Offers()) reactor_->OnWriteDone(/*ok=*/false);
    EXPECT_TRUE(status().has_value()) << "a stream ends with its connection";
    std::exchange(reactor_, nullptr)->OnDone();
  }

  void Finish(grpc::Status status) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(status_.has_value()) << "finished twice";
    status_ = FromGrpcStatus(status);
  }
  void Write(const v1::JobEvent* message, grpc::WriteOptions) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_EQ(message_, nullptr) << "two writes at a time";
    EXPECT_FALSE(status_.has_value()) << "a write behind the end";
    message_ = message;
  }
  void SendInitialMetadata() override {}
  void WriteAndFinish(const v1::JobEvent*, grpc::WriteOptions, grpc::Status) override {}

 private:
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}

  Reactor* reactor_;
  absl::Mutex mutex_;
  const v1::JobEvent* message_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

// A job with many events in a coordinator without listeners.
class WatchStreamTest : public testing::Test, protected LoopParts {
 protected:
  WatchStreamTest() {
    {
      const LoopScope before_the_loop;
      EXPECT_OK(facts_.Reload());
    }
    const auto news = [this](const std::set<std::string>& jobs) { watchers_.Notify(facts_.table(), jobs); };
    loop_.Start({.tick = [] {},
                 .after_operations = [] {},
                 .before_commit = [] {},
                 .after_reload = [] {},
                 .news = news},
                /*tick_interval=*/absl::Hours(1));
    JobCreated created;
    created.record.set_id(kJob);
    created.record.set_create_number(1);
    OnLoop([&] { facts_.Apply(created); });
    AddEvents(kEvents);
  }
  ~WatchStreamTest() override {
    rooms_.Stop();
    loop_.Stop();
  }

  // Runs it on the loop and waits until what it changed is stored and told.
  void OnLoop(const std::function<void()>& operation) {
    absl::Notification done;
    loop_.Post([&] {
      operation();
      loop_.AfterCommit([&](const absl::Status& committed) { EXPECT_OK(committed); });
    });
    loop_.Post([&] { loop_.AfterCommit([&](const absl::Status&) { done.Notify(); }); });
    ASSERT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  }
  void AddEvents(int count) {
    OnLoop([&] {
      for (int i = 0; i < count; ++i) facts_.AppendLog(kJob, v1::JobEvent());
    });
  }
  // A heartbeat of all watchers is due, and progress before it.
  void Tick() {
    OnLoop([&] {
      clock_.Advance(absl::Seconds(15));
      watchers_.Tick(facts_.table(), clock_.Monotonic());
    });
  }
  int64_t LastSeq() {
    int64_t last = 0;
    OnLoop([&] { last = facts_.table().Find(kJob)->record.last_seq(); });
    return last;
  }

  Reactor* Watch(int64_t after_seq = 0) {
    v1::WatchJobRequest request;
    request.set_name(JobName(kJob));
    request.set_after_seq(after_seq);
    return StartWatch(context_, request);
  }
  static int64_t Queued(Reactor* stream) {
    return static_cast<int64_t>(dynamic_cast<Queue*>(stream)->queued());
  }

  SchedulingLimits limits_;
  TaskAttempts attempts_{facts_, jobs_, links_, metrics_, clock_, limits_, /*term=*/1};
  WorkerSessions sessions_{WorkerSessions::Options(), facts_, jobs_, attempts_, links_, metrics_, clock_};
  ServiceContext context_{.data_dir = dir_ / "data",
                          .artifacts_dir = dir_ / "artifacts",
                          .models = {},
                          .calibration_prose = {},
                          .heldout_prose = {},
                          .clock = clock_,
                          .metrics = metrics_,
                          .disk = disk_,
                          .loop = loop_,
                          .rooms = rooms_,
                          .facts = facts_,
                          .links = links_,
                          .jobs = jobs_,
                          .attempts = attempts_,
                          .sessions = sessions_,
                          .watchers = watchers_,
                          .blob_store = *blobs_,
                          .state_store = *store_};
};

TEST_F(WatchStreamTest, AClientThatDoesNotReadIsHeldOnePageAndNoMore) {
  Reactor* const stream = Watch();
  HeldWriter slow(stream);
  ASSERT_TRUE(Await([&] { return Queued(stream) == kPage; }));
  AddEvents(kEvents);
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_EQ(Queued(stream), kPage) << "what comes meanwhile stays in the log";
  EXPECT_FALSE(slow.status().has_value());
}

TEST_F(WatchStreamTest, AClientThatReadsLateMissesNoEvent) {
  Reactor* const stream = Watch();
  HeldWriter slow(stream);
  ASSERT_TRUE(Await([&] { return Queued(stream) == kPage; }));
  AddEvents(kEvents);
  const int64_t last = LastSeq();
  for (int64_t seq = 1; seq <= last;) {
    const std::optional<v1::JobEvent> event = slow.Read();
    ASSERT_TRUE(event.has_value()) << "behind " << seq - 1;
    if (event->seq() == 0) continue;  // progress
    ASSERT_EQ(event->seq(), seq++);
  }
}

TEST_F(WatchStreamTest, AClientThatReadsNothingForLongIsEndedAloneAndCanGoOnLater) {
  Reactor* const stream = Watch();
  HeldWriter slow(stream), quick(Watch(/*after_seq=*/LastSeq()));
  ASSERT_TRUE(Await([&] { return Queued(stream) == kPage; }));
  for (int heartbeats = 0; heartbeats < 6;) {
    Tick();
    const std::optional<v1::JobEvent> event = quick.Read();
    ASSERT_TRUE(event.has_value());
    if (event->has_heartbeat()) ++heartbeats;
  }
  EXPECT_EQ(Queued(stream), 1) << "only what is being written is held";
  const std::optional<v1::JobEvent> first = slow.Read();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(slow.Read(), std::nullopt);
  EXPECT_THAT(*slow.status(),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("CLIENT_TOO_SLOW")));
  EXPECT_FALSE(quick.status().has_value());

  HeldWriter again(Watch(/*after_seq=*/first->seq()));
  const std::optional<v1::JobEvent> next = again.Read();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->seq(), first->seq() + 1);
}

// A stream that sends whatever it is given, as those to workers do.
class PlainStream : public Queue {
 public:
  explicit PlainStream(ServiceContext& context) : Queue(context, "JobService", "WatchJob") {}
  static std::shared_ptr<PlainStream> Start(ServiceContext& context) {
    auto stream = std::make_shared<PlainStream>(context);
    stream->KeepAlive();
    return stream;
  }
};

v1::JobEvent Numbered(int64_t seq) {
  v1::JobEvent event;
  event.set_seq(seq);
  return event;
}

TEST_F(WatchStreamTest, AFullQueueEndsTheStreamAndIsEmptied) {
  const auto stream = PlainStream::Start(context_);
  HeldWriter slow(stream.get());
  for (int64_t seq = 1; seq <= kQueue; ++seq) stream->Write(Numbered(seq));
  EXPECT_EQ(Queued(stream.get()), kQueue);
  stream->Write(Numbered(kQueue + 1));
  EXPECT_EQ(Queued(stream.get()), 1);
  stream->Write(Numbered(kQueue + 2));
  EXPECT_EQ(Queued(stream.get()), 1) << "nothing is taken any more";
  EXPECT_FALSE(slow.status().has_value()) << "a write is under way";
  EXPECT_EQ(slow.Read()->seq(), 1);
  EXPECT_THAT(*slow.status(),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("CLIENT_TOO_SLOW")));
}

TEST_F(WatchStreamTest, WhatIsQueuedLeavesBeforeAnOrderlyEnd) {
  const auto stream = PlainStream::Start(context_);
  HeldWriter client(stream.get());
  for (int64_t seq = 1; seq <= 3; ++seq) stream->Write(Numbered(seq));
  stream->FinishAfterWrites(absl::OkStatus());
  stream->Write(Numbered(4));
  for (int64_t seq = 1; seq <= 3; ++seq) EXPECT_EQ(client.Read()->seq(), seq);
  EXPECT_EQ(client.Read(), std::nullopt);
  EXPECT_OK(*client.status());
}

TEST_F(WatchStreamTest, AConnectionThatBreaksEndsTheStreamWithWhatItHolds) {
  const auto stream = PlainStream::Start(context_);
  HeldWriter client(stream.get());
  for (int64_t seq = 1; seq <= 3; ++seq) stream->Write(Numbered(seq));
  client.End();
  EXPECT_EQ(Queued(stream.get()), 0);
}

}  // namespace
}  // namespace quantmoe
