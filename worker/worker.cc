#include "worker/worker.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "base/crash_report.h"
#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "proto/grpc_status.h"
#include "worker/outcome_report.h"

namespace quantmoe {
namespace {

// One attempt runs and one waits, so that the worker is never idle between two.
constexpr int kCredits = 2;

std::string MakeWorkerId() {
  char host[256] = "worker";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "-", getpid(), "-", absl::Hex(std::random_device{}(), absl::kZeroPad8));
}

std::string MakeInstance() {
  std::random_device random;
  return absl::StrCat(absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8));
}

std::string OutcomeLabel(const absl::Status& status) {
  if (status.ok()) return "ok";
  return absl::AsciiStrToLower(v1::FailTaskRequest::FailureClass_Name(ClassifyFailure(status)));
}

}  // namespace

Worker::Worker(Options options, std::unique_ptr<CoordinatorClient> client)
    : options_(std::move(options)),
      instance_(MakeInstance()),
      client_(std::move(client)),
      metrics_(kProgramVersion, options_.device, options_.memory_bytes),
      claims_shared_(
          options_.blob_mode == BlobMode::kShared ||
          (options_.blob_mode == BlobMode::kAuto && IsLoopbackTarget(options_.coordinator.address))),
      idle_since_(options_.clock->Monotonic()) {}

absl::StatusOr<std::unique_ptr<Worker>> Worker::Start(Options options) {
  ASSIGN_OR_RETURN(auto client, CoordinatorClient::Create(options.coordinator));
  if (options.worker_id.empty()) options.worker_id = MakeWorkerId();
  std::unique_ptr<Worker> worker(new Worker(std::move(options), std::move(client)));
  if (!worker->options_.http_address.empty()) {
    Worker* const self = worker.get();
    HttpEndpoint::Answers answers;
    answers.metrics = [self] { return self->metrics_.Render(); };
    answers.ready = [self] { return self->ready(); };
    ASSIGN_OR_RETURN(worker->endpoint_, HttpEndpoint::Start(self->options_.http_address, std::move(answers)));
  }
  worker->threads_.emplace_back(&Worker::ComputeLoop, worker.get());
  worker->threads_.emplace_back(&Worker::SessionLoop, worker.get());
  worker->threads_.emplace_back(&Worker::HeartbeatLoop, worker.get());
  worker->threads_.emplace_back(&Worker::DeliveryLoop, worker.get());
  return worker;
}

Worker::~Worker() { Stop(); }

void Worker::Stop() {
  {
    NotifyingLock lock(&mutex_, &changed_);
    EndLocked(absl::CancelledError("the worker was stopped"));
    if (running_ != nullptr) running_->Cancel();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  endpoint_.reset();
}

absl::Status Worker::Drain() {
  RequestDrain();
  return AwaitEnd();
}

void Worker::RequestDrain() {
  NotifyingLock lock(&mutex_, &changed_);
  RequestDrainLocked();
}

absl::Status Worker::AwaitEnd() {
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  mutex_.Await(absl::Condition(&ended));
  return *end_;
}

bool Worker::ready() const {
  absl::MutexLock lock(&mutex_);
  return connected_ && !drain_until_.has_value();
}

bool Worker::shares_blobs() const {
  absl::MutexLock lock(&mutex_);
  return !blobs_.shared_dir.empty();
}

// ---- compute

void Worker::ComputeLoop() {
  ReportStackOverflowOfThisThread();
  while (true) {
    std::shared_ptr<Attempt> attempt;
    std::shared_ptr<BlobStore> blobs;
    {
      absl::MutexLock lock(&mutex_);
      // A worker that lost its coordinator starts nothing new: the attempt may be someone else's by now.
      const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return end_.has_value() || (connected_ && !queued_.empty());
      };
      mutex_.Await(absl::Condition(&wake));
      if (end_.has_value()) return;
      attempt = running_ = queued_.front();
      queued_.pop_front();
      blobs = blobs_.store;
    }
    RunOne(attempt, blobs);
  }
}

void Worker::RunOne(const std::shared_ptr<Attempt>& attempt, const std::shared_ptr<BlobStore>& blobs) {
  const std::string& kind = attempt->spec().kind();
  const CrashContext context(attempt->spec().task());
  metrics_.SetBusy(true);
  Log(LogLevel::kDebug, "task starts", {{"task", attempt->spec().task()}});
  TaskOutcome outcome =
      RunAttempt(*attempt, {options_.run_task, *blobs, options_.models, options_.compute_device});
  metrics_.SetBusy(false);
  metrics_.CountTask(kind, OutcomeLabel(outcome.status), outcome.seconds, outcome.peak_memory_bytes);
  const bool wanted = outcome.status.ok() || absl::IsCancelled(outcome.status);
  Log(wanted ? LogLevel::kInfo : LogLevel::kWarning, "task ended",
      {{"task", attempt->spec().task()},
       {"seconds", outcome.seconds},
       {"status", outcome.status.ToString()}});
  NotifyingLock lock(&mutex_, &changed_);
  if (GetErrorInfo(outcome.status).reason == "DEVICE_FAILURE") {
    // An error of a GPU stays with the process: whoever restarts it gives the device back.
    after_drain_ = outcome.status;
    RequestDrainLocked();
  }
  // A dropped attempt is not ours any more.
  if (running_ == attempt) undelivered_.push_back({attempt, std::move(outcome)});
  running_ = nullptr;
  idle_since_ = options_.clock->Monotonic();
  SendCreditsLocked();
}

// ---- delivery

void Worker::DeliveryLoop() {
  Backoff backoff(options_.reconnect_holding);
  while (true) {
    Delivery delivery;
    {
      absl::MutexLock lock(&mutex_);
      const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return end_.has_value() || !undelivered_.empty();
      };
      mutex_.Await(absl::Condition(&wake));
      if (end_.has_value()) return;
      delivery = undelivered_.front();
    }
    const absl::Status answer = ReportOutcome(*client_, {options_.worker_id, options_.determinism_class},
                                              *delivery.attempt, delivery.outcome, metrics_);
    if (!WorthReportingAgain(answer)) {
      backoff.Reset();
      Settle(delivery, answer);
      continue;
    }
    Log(LogLevel::kWarning, "outcome not delivered yet",
        {{"task", delivery.attempt->spec().task()}, {"error", answer.ToString()}});
    if (!PauseUnlessEnded(backoff.Next())) return;
  }
}

void Worker::Settle(const Delivery& delivery, const absl::Status& answer) {
  if (!answer.ok()) {
    Log(LogLevel::kError, "the coordinator does not take the outcome",
        {{"task", delivery.attempt->spec().task()}, {"error", answer.ToString()}});
  }
  NotifyingLock lock(&mutex_, &changed_);
  const auto found = std::find_if(undelivered_.begin(), undelivered_.end(),
                                  [&](const Delivery& other) { return other.attempt == delivery.attempt; });
  if (found == undelivered_.end()) return;
  if (answer.ok() || !found->outcome.status.ok()) {
    undelivered_.erase(found);
  } else {
    found->outcome.status = absl::InternalError(absl::StrCat("the result was refused: ", answer.ToString()));
  }
}

// ---- shared state

void Worker::RequestDrainLocked() {
  if (drain_until_.has_value()) return;
  Log(LogLevel::kInfo, "draining", {{"worker", options_.worker_id}});
  drain_until_ = options_.clock->Monotonic() + options_.drain_timeout;
  for (auto& attempt : queued_) GiveBackLocked(std::move(attempt));
  queued_.clear();
  if (connected_) outbox_.emplace_back().mutable_drain_request();
}

void Worker::EndLocked(absl::Status status) {
  if (!end_.has_value()) end_ = std::move(status);
  if (stream_ != nullptr) stream_->Cancel();
}

void Worker::GiveBackLocked(std::shared_ptr<Attempt> attempt) {
  TaskOutcome outcome;
  outcome.status = absl::CancelledError("given back before it ran");
  undelivered_.push_back({std::move(attempt), std::move(outcome)});
}

void Worker::SendCreditsLocked() {
  if (!connected_ || drain_until_.has_value()) return;
  outbox_.emplace_back().mutable_set_credits()->set_credits(FreeCreditsLocked());
}

int Worker::FreeCreditsLocked() const {
  if (drain_until_.has_value()) return 0;
  const int held = static_cast<int>(queued_.size()) + (running_ != nullptr ? 1 : 0);
  return std::max(0, kCredits - held);
}

bool Worker::HoldsNothingLocked() const {
  return queued_.empty() && running_ == nullptr && undelivered_.empty();
}

}  // namespace quantmoe
