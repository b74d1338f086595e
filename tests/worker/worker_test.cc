#include "worker/worker.h"

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "proto/grpc_status.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/worker/fake_coordinator.h"

namespace quantmoe {
namespace {

using v1::FailTaskRequest;

// A computation that a test holds until it says Open, and that looks at the flag meanwhile.
class Gate {
 public:
  TaskFunction Task() {
    return [this](TaskKind, const std::string&, const std::vector<BlobRef>&,
                  TaskContext& context) -> absl::StatusOr<std::vector<BlobRef>> {
      absl::MutexLock lock(&mutex_);
      ++started_;
      const auto wake = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_; };
      while (!context.cancelled) {
        if (mutex_.AwaitWithTimeout(absl::Condition(&wake), absl::Milliseconds(1))) break;
        context.progress(0.5, "waiting");
      }
      if (context.cancelled) return absl::CancelledError("cancelled");
      return std::vector<BlobRef>{{"table", DigestOf("result")}};
    };
  }
  void Open() {
    absl::MutexLock lock(&mutex_);
    open_ = true;
  }
  void AwaitStarted(int tasks) {
    absl::MutexLock lock(&mutex_);
    const auto started = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return started_ >= tasks; };
    ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&started), absl::Seconds(10)));
  }
  int started() {
    absl::MutexLock lock(&mutex_);
    return started_;
  }

 private:
  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  int started_ ABSL_GUARDED_BY(mutex_) = 0;
};

class WorkerTest : public testing::Test {
 protected:
  ~WorkerTest() override {
    gate_.Open();
    worker_.reset();
  }

  Worker::Options Options() {
    Worker::Options options;
    options.coordinator.address = coordinator_.address();
    options.worker_id = "w";
    options.memory_bytes = 1000;
    options.determinism_class = "test-class";
    options.run_task = gate_.Task();
    options.scratch_dir = scratch_ / "worker";
    options.blob_mode = BlobMode::kStreamed;
    options.reconnect_holding = {
        .initial = absl::Milliseconds(5), .maximum = absl::Milliseconds(50), .multiplier = 2};
    options.reconnect_idle = options.reconnect_holding;
    return options;
  }
  void Start(Worker::Options options) {
    ASSERT_OK_AND_ASSIGN(worker_, Worker::Start(std::move(options)));
    coordinator_.AwaitHello(1);
  }
  void AwaitAck(const std::string& task) {
    coordinator_.Await([&task](const v1::WorkerMessage& message) {
      return message.has_task_ack() && message.task_ack().attempt().task() == task;
    });
  }
  void AwaitCredits(int credits) {
    coordinator_.Await([credits](const v1::WorkerMessage& message) {
      return message.has_set_credits() && message.set_credits().credits() == credits;
    });
  }

  const TemporaryDirectory scratch_;
  FakeCoordinator coordinator_;
  Gate gate_;
  std::unique_ptr<Worker> worker_;
};

TEST_F(WorkerTest, HelloOffersOneTaskToRunAndOneToQueue) {
  Start(Options());
  const v1::Hello hello = coordinator_.AwaitHello(1);
  EXPECT_EQ(hello.worker_id(), "w");
  EXPECT_EQ(hello.api_version(), 1);
  EXPECT_EQ(hello.credits(), 2);
  EXPECT_EQ(hello.memory_bytes(), 1000);
  EXPECT_EQ(hello.determinism_class(), "test-class");
  EXPECT_EQ(hello.held_size(), 0);
}

TEST_F(WorkerTest, HelloIsCorrectedWhenTheProbeShowsThatBlobsAreNotShared) {
  Worker::Options options = Options();
  options.blob_mode = BlobMode::kAuto;
  Start(std::move(options));
  EXPECT_TRUE(coordinator_.AwaitHello(1).shared_blobs()) << "the address is on this machine";
  EXPECT_FALSE(coordinator_.AwaitHello(2).shared_blobs());
  coordinator_.Await([](const v1::WorkerMessage& message) { return message.has_heartbeat(); });
  EXPECT_TRUE(worker_->ready());
}

TEST_F(WorkerTest, RunsAcknowledgesAndCompletes) {
  gate_.Open();
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.Await([](const v1::WorkerMessage& message) {
    return message.has_task_ack() && message.task_ack().attempt().token() == "token-a";
  });
  const v1::CompleteTaskRequest request = coordinator_.AwaitCompletion("a");
  EXPECT_EQ(request.attempt().token(), "token-a");
  EXPECT_EQ(request.worker_id(), "w");
  EXPECT_EQ(request.determinism_class(), "test-class");
  ASSERT_EQ(request.outputs_size(), 1);
  EXPECT_EQ(request.outputs(0).digest().sha256(), DigestOf("result").sha256);
  EXPECT_GT(request.peak_memory_bytes(), 0);
  AwaitCredits(2);
}

TEST_F(WorkerTest, ABrokenDeviceIsReportedAndEndsTheWorker) {
  Worker::Options options = Options();
  options.run_task = [](TaskKind, const std::string&, const std::vector<BlobRef>&,
                        TaskContext&) -> absl::StatusOr<std::vector<BlobRef>> {
    return MakeError(absl::StatusCode::kAborted, "DEVICE_FAILURE", "an illegal memory access");
  };
  Start(std::move(options));
  coordinator_.Assign("a");
  EXPECT_EQ(coordinator_.AwaitFailure("a").failure_class(), FailTaskRequest::INFRASTRUCTURE);
  const absl::Status end = worker_->AwaitEnd();
  EXPECT_THAT(end, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(GetErrorInfo(end).reason, "DEVICE_FAILURE");
}

TEST_F(WorkerTest, ATaskThatNeedsMoreMemoryIsNotTaken) {
  Start(Options());
  coordinator_.Assign("big", 1001);
  const v1::WorkerMessage nack =
      coordinator_.Await([](const v1::WorkerMessage& message) { return message.has_task_nack(); });
  const absl::Status reason = FromRpcStatus(nack.task_nack().reason());
  EXPECT_THAT(reason, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(GetErrorInfo(reason).metadata.at("needed_bytes"), "1001");
  EXPECT_EQ(GetErrorInfo(reason).metadata.at("available_bytes"), "1000");
  EXPECT_EQ(gate_.started(), 0);
}

TEST_F(WorkerTest, HeartbeatsTellProgressOfTheRunningTask) {
  Start(Options());
  coordinator_.Assign("a");
  const auto tell_more_than = [this](int64_t ticks) {
    const v1::WorkerMessage told = coordinator_.Await([ticks](const v1::WorkerMessage& message) {
      return message.heartbeat().running_size() == 1 &&
             message.heartbeat().running(0).progress_ticks() > ticks;
    });
    return told.heartbeat().running_size() == 0 ? v1::RunningAttempt() : told.heartbeat().running(0);
  };
  const v1::RunningAttempt first = tell_more_than(0);
  EXPECT_EQ(first.attempt().token(), FakeCoordinator::Ref("a").token());
  EXPECT_EQ(first.phase(), "waiting");
  EXPECT_EQ(first.fraction(), 0.5);
  EXPECT_GT(tell_more_than(first.progress_ticks()).progress_ticks(), first.progress_ticks());
}

TEST_F(WorkerTest, TextOfTheMachineIsSentAsUtf8) {
  Worker::Options options = Options();
  options.device = "caf\xC3";
  Start(options);
  EXPECT_EQ(coordinator_.AwaitHello(1).device(), "caf\uFFFD");
}

TEST_F(WorkerTest, CancelEndsTheRunningTaskAndIsNotCharged) {
  Start(Options());
  coordinator_.Assign("a");
  gate_.AwaitStarted(1);
  const absl::Time start = absl::Now();
  coordinator_.Cancel("a");
  EXPECT_EQ(coordinator_.AwaitFailure("a").failure_class(), FailTaskRequest::DRAINED);
  EXPECT_LT(absl::Now() - start, absl::Seconds(2));
}

TEST_F(WorkerTest, CancelGivesAQueuedTaskBackUnrun) {
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.Assign("b");
  gate_.AwaitStarted(1);
  coordinator_.Cancel("b");
  EXPECT_EQ(coordinator_.AwaitFailure("b").failure_class(), FailTaskRequest::DRAINED);
  EXPECT_EQ(gate_.started(), 1);
}

TEST_F(WorkerTest, ADroppedTaskIsNeverReported) {
  Start(Options());
  coordinator_.Assign("a");
  gate_.AwaitStarted(1);
  coordinator_.Drop("a");
  coordinator_.Assign("b");
  gate_.AwaitStarted(2);
  gate_.Open();
  coordinator_.AwaitCompletion("b");
  EXPECT_EQ(coordinator_.completions(), 1);
}

TEST_F(WorkerTest, ALostSessionCostsNoWork) {
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.Assign("b");
  gate_.AwaitStarted(1);
  AwaitAck("b");
  coordinator_.CloseSession();
  const v1::Hello again = coordinator_.AwaitHello(2);
  ASSERT_EQ(again.held_size(), 2);
  EXPECT_EQ(again.held(0).task(), "a");
  EXPECT_EQ(again.held(0).token(), "token-a");
  EXPECT_EQ(again.credits(), 0);
  gate_.Open();
  coordinator_.AwaitCompletion("a");
  coordinator_.AwaitCompletion("b");
  EXPECT_EQ(gate_.started(), 2);
}

TEST_F(WorkerTest, AResultIsReportedUntilItIsAnswered) {
  gate_.Open();
  coordinator_.LoseCompletions(3);
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.Assign("b");
  coordinator_.AwaitCompletion("b");
  EXPECT_GE(coordinator_.completions(), 5);
  EXPECT_EQ(gate_.started(), 2);
}

TEST_F(WorkerTest, AStaleResultIsCountedAndForgotten) {
  gate_.Open();
  coordinator_.AnswerCompletions(v1::CompleteTaskResponse::STALE);
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.AwaitCompletion("a");
  ASSERT_OK(worker_->Drain());
  EXPECT_THAT(worker_->metrics().Render(),
              testing::HasSubstr("quantmoe_worker_tasks_total{kind=\"solve\",outcome=\"stale\"} 1"));
  EXPECT_EQ(coordinator_.completions(), 1);
}

TEST_F(WorkerTest, DrainFinishesWhatRunsGivesBackTheRestAndSaysGoodbye) {
  Start(Options());
  coordinator_.Assign("a");
  coordinator_.Assign("b");
  gate_.AwaitStarted(1);
  AwaitAck("b");
  worker_->RequestDrain();
  coordinator_.Await([](const v1::WorkerMessage& message) { return message.has_drain_request(); });
  EXPECT_EQ(coordinator_.AwaitFailure("b").failure_class(), FailTaskRequest::DRAINED);
  EXPECT_FALSE(worker_->ready());
  coordinator_.Assign("c");
  coordinator_.Await([](const v1::WorkerMessage& message) { return message.has_task_nack(); });
  gate_.Open();
  EXPECT_OK(worker_->AwaitEnd());
  coordinator_.AwaitCompletion("a");
  coordinator_.Await([](const v1::WorkerMessage& message) { return message.has_goodbye(); });
}

TEST_F(WorkerTest, ADrainThatTakesTooLongGivesTheRunningTaskBack) {
  Worker::Options options = Options();
  options.drain_timeout = absl::Milliseconds(20);
  Start(std::move(options));
  coordinator_.Assign("a");
  gate_.AwaitStarted(1);
  EXPECT_OK(worker_->Drain());
  EXPECT_EQ(coordinator_.AwaitFailure("a").failure_class(), FailTaskRequest::DRAINED);
}

TEST_F(WorkerTest, TheCoordinatorCanDrainIt) {
  Start(Options());
  v1::CoordinatorMessage drain;
  drain.mutable_drain();
  coordinator_.Send(drain);
  EXPECT_OK(worker_->AwaitEnd());
}

TEST_F(WorkerTest, LeavesWhenItWasIdleForLong) {
  Worker::Options options = Options();
  options.exit_when_idle = absl::Milliseconds(50);
  Start(std::move(options));
  EXPECT_OK(worker_->AwaitEnd());
}

TEST_F(WorkerTest, ARefusedWorkerEnds) {
  coordinator_.RefuseSessions({grpc::StatusCode::FAILED_PRECONDITION, "too old"});
  ASSERT_OK_AND_ASSIGN(worker_, Worker::Start(Options()));
  EXPECT_THAT(worker_->AwaitEnd(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(WorkerTest, AnIdThatIsInUseEndsTheWorkerOnlyAfterAWhile) {
  coordinator_.RefuseSessions({grpc::StatusCode::ALREADY_EXISTS, "another worker is connected as w"});
  Worker::Options options = Options();
  options.id_conflict_patience = absl::ZeroDuration();
  ASSERT_OK_AND_ASSIGN(worker_, Worker::Start(options));
  EXPECT_THAT(worker_->AwaitEnd(), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK_AND_ASSIGN(worker_, Worker::Start(Options()));
  coordinator_.RefuseSessions(grpc::Status::OK);
  const std::string instance = coordinator_.AwaitHello(1).instance();
  EXPECT_FALSE(instance.empty());
  coordinator_.CloseSession();
  EXPECT_EQ(coordinator_.AwaitHello(2).instance(), instance) << "it is still the same process";
}

TEST_F(WorkerTest, KeepsDiallingUntilTheCoordinatorIsThere) {
  coordinator_.RefuseSessions({grpc::StatusCode::UNAVAILABLE, "starting"});
  ASSERT_OK_AND_ASSIGN(worker_, Worker::Start(Options()));
  EXPECT_FALSE(worker_->ready());
  coordinator_.RefuseSessions(grpc::Status::OK);
  coordinator_.AwaitHello(1);
}

TEST_F(WorkerTest, PlainTextNeverLeavesTheMachineUnasked) {
  Worker::Options options = Options();
  options.coordinator.address = "192.0.2.1:7071";
  EXPECT_THAT(Worker::Start(options), HasReason("INSECURE_ADDRESS"));
}

}  // namespace
}  // namespace quantmoe
