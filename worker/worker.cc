#include "worker/worker.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"
#include "worker/outcome_report.h"

namespace quantmoe {
namespace {

constexpr int kApiVersion = 1;
// One attempt runs and one waits, so that the worker is never idle between two.
constexpr int kCredits = 2;
constexpr absl::Duration kShortestHeartbeat = absl::Milliseconds(5);
constexpr absl::Duration kWelcomeTimeout = absl::Seconds(10);
// After the drain timeout, for the last answers of the coordinator.
constexpr absl::Duration kDrainGrace = absl::Seconds(5);
constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(2);

std::string MakeWorkerId() {
  char host[256] = "worker";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "-", getpid(), "-", absl::Hex(std::random_device{}(), absl::kZeroPad8));
}

bool Is(const Attempt& attempt, const v1::AttemptRef& ref) {
  return attempt.token() == ref.token() && attempt.spec().task() == ref.task();
}

std::string OutcomeLabel(const absl::Status& status) {
  if (status.ok()) return "ok";
  return absl::AsciiStrToLower(v1::FailTaskRequest::FailureClass_Name(ClassifyFailure(status)));
}

absl::Duration HeartbeatInterval(const v1::Welcome& welcome) {
  return std::max(kShortestHeartbeat, absl::Seconds(welcome.heartbeat_seconds()));
}

// The coordinator will not have this worker, however often it asks.
bool RefusesWorker(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsPermissionDenied(status) ||
         absl::IsInvalidArgument(status);
}

}  // namespace

Worker::Worker(Options options, std::unique_ptr<CoordinatorClient> client)
    : options_(std::move(options)),
      client_(std::move(client)),
      metrics_(QUANTMOE_VERSION, options_.device, options_.memory_bytes),
      idle_since_(options_.clock->Monotonic()) {}

absl::StatusOr<std::unique_ptr<Worker>> Worker::Start(Options options) {
  ASSIGN_OR_RETURN(auto client, CoordinatorClient::Create(options.coordinator));
  if (options.worker_id.empty()) options.worker_id = MakeWorkerId();
  std::unique_ptr<Worker> worker(new Worker(std::move(options), std::move(client)));
  if (!worker->options_.http_address.empty()) {
    Worker* const self = worker.get();
    ASSIGN_OR_RETURN(worker->endpoint_, StatusEndpoint::Start(self->options_.http_address,
                                                              {[self] { return self->metrics_.Render(); },
                                                               [self] { return self->ready(); }}));
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
    absl::MutexLock lock(&mutex_);
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
  absl::MutexLock lock(&mutex_);
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
  metrics_.SetBusy(true);
  Log(LogLevel::kDebug, "task starts", {{"task", attempt->spec().task()}});
  TaskOutcome outcome = RunAttempt(*attempt, {options_.run_task, *blobs, options_.model_roots});
  metrics_.SetBusy(false);
  metrics_.CountTask(kind, OutcomeLabel(outcome.status), outcome.seconds, outcome.peak_memory_bytes);
  Log(outcome.status.ok() ? LogLevel::kInfo : LogLevel::kWarning, "task ended",
      {{"task", attempt->spec().task()},
       {"seconds", outcome.seconds},
       {"status", outcome.status.ToString()}});
  absl::MutexLock lock(&mutex_);
  // A dropped attempt is not ours any more.
  if (running_ == attempt) undelivered_.push_back({attempt, std::move(outcome)});
  running_ = nullptr;
  idle_since_ = options_.clock->Monotonic();
  SendCreditsLocked();
}

// ---- session

void Worker::SessionLoop() {
  Backoff holding(options_.reconnect_holding);
  Backoff idle(options_.reconnect_idle);
  while (true) {
    const absl::Status status = RunSession();
    bool holds_nothing = false;
    {
      absl::MutexLock lock(&mutex_);
      if (connected_) {
        holding.Reset();
        idle.Reset();
      }
      connected_ = false;
      stream_ = nullptr;
      outbox_.clear();
      if (RefusesWorker(status)) EndLocked(status);
      if (end_.has_value()) return;
      holds_nothing = HoldsNothingLocked();
    }
    const absl::Duration pause = holds_nothing ? idle.Next() : holding.Next();
    Log(LogLevel::kWarning, "session lost",
        {{"error", status.ToString()}, {"retry_in", absl::FormatDuration(pause)}});
    if (!PauseUnlessEnded(pause)) return;
    metrics_.CountReconnect();
  }
}

bool Worker::PauseUnlessEnded(absl::Duration pause) {
  const absl::Duration until = options_.clock->Monotonic() + pause;
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  for (absl::Duration left = pause; left > absl::ZeroDuration(); left = until - options_.clock->Monotonic()) {
    if (mutex_.AwaitWithTimeout(absl::Condition(&ended), left)) return false;
  }
  return !end_.has_value();
}

absl::Status Worker::RunSession() {
  std::shared_ptr<SessionStream> stream = client_->OpenSession();
  {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) stream->Cancel();
    stream_ = stream;
    last_contact_ = options_.clock->Monotonic();
  }
  v1::CoordinatorMessage message;
  if (stream->Write(MakeHello()) && stream->Read(message)) {
    absl::Status welcomed = message.has_welcome() ? OnWelcome(message.welcome())
                                                  : absl::InternalError("the first answer is not a Welcome");
    if (!welcomed.ok()) stream->Cancel();
    while (stream->Read(message)) OnMessage(message);
    const absl::Status finished = stream->Finish();
    return welcomed.ok() ? finished : welcomed;
  }
  return stream->Finish();
}

v1::WorkerMessage Worker::MakeHello() {
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_worker_id(options_.worker_id);
  hello.set_api_version(kApiVersion);
  hello.set_version(QUANTMOE_VERSION);
  hello.set_device(options_.device);
  hello.set_threads(options_.threads);
  hello.set_memory_bytes(options_.memory_bytes);
  hello.set_determinism_class(options_.determinism_class);
  absl::MutexLock lock(&mutex_);
  hello.set_shared_blobs(!blobs_.shared_dir.empty());
  hello_credits_ = FreeCreditsLocked();
  hello.set_credits(hello_credits_);
  if (running_ != nullptr) *hello.add_held() = running_->ref();
  for (const auto& attempt : queued_) *hello.add_held() = attempt->ref();
  for (const Delivery& delivery : undelivered_) *hello.add_held() = delivery.attempt->ref();
  return message;
}

absl::Status Worker::OnWelcome(const v1::Welcome& welcome) {
  StreamedBlobStore::Options streamed;
  streamed.cache_dir = absl::StrCat(options_.scratch_dir, "/blobs");
  streamed.cache_bytes = options_.cache_bytes;
  streamed.cancelled = [this] {
    absl::MutexLock lock(&mutex_);
    return end_.has_value() || (running_ != nullptr && running_->cancelled());
  };
  BlobAccess access;
  {
    absl::MutexLock lock(&mutex_);
    access = blobs_;
  }
  ASSIGN_OR_RETURN(access,
                   OpenBlobs(options_.blob_mode, welcome, access, streamed, client_->blobs(), metrics_));
  Log(LogLevel::kInfo, "session established",
      {{"worker", options_.worker_id},
       {"term", welcome.term()},
       {"shared_blobs", !access.shared_dir.empty()}});
  absl::MutexLock lock(&mutex_);
  welcome_ = welcome;
  blobs_ = std::move(access);
  connected_ = true;
  last_contact_ = heartbeat_sent_ = options_.clock->Monotonic();
  // An attempt may have ended since Hello was written.
  if (FreeCreditsLocked() != hello_credits_) SendCreditsLocked();
  if (drain_until_.has_value()) outbox_.emplace_back().mutable_drain_request();
  return absl::OkStatus();
}

void Worker::OnMessage(const v1::CoordinatorMessage& message) {
  switch (message.message_case()) {
    case v1::CoordinatorMessage::kHeartbeatAck:
      return OnHeartbeatAck(message.heartbeat_ack());
    case v1::CoordinatorMessage::kAssign:
      return OnAssign(message.assign());
    case v1::CoordinatorMessage::kCancel:
      return OnCancel(message.cancel());
    case v1::CoordinatorMessage::kDrop:
      return OnDrop(message.drop().attempt());
    case v1::CoordinatorMessage::kDrain:
      return RequestDrain();
    default:
      return;
  }
}

absl::Status Worker::AdmissionLocked(const v1::TaskSpec& task) const {
  if (drain_until_.has_value()) {
    return MakeError(absl::StatusCode::kUnavailable, "WORKER_DRAINING", "the worker is draining");
  }
  return CheckMemoryNeed(task, options_.memory_bytes);
}

void Worker::OnAssign(const v1::Assign& assign) {
  auto attempt = std::make_shared<Attempt>(assign.task(), assign.token());
  absl::MutexLock lock(&mutex_);
  const absl::Status admission = AdmissionLocked(assign.task());
  v1::WorkerMessage& answer = outbox_.emplace_back();
  if (admission.ok()) {
    *answer.mutable_task_ack()->mutable_attempt() = attempt->ref();
    queued_.push_back(std::move(attempt));
    return;
  }
  metrics_.CountNack(assign.task().kind());
  *answer.mutable_task_nack()->mutable_attempt() = attempt->ref();
  *answer.mutable_task_nack()->mutable_reason() = ToRpcStatus(admission);
  SendCreditsLocked();
}

void Worker::OnCancel(const v1::CancelTask& cancel) {
  absl::MutexLock lock(&mutex_);
  if (running_ != nullptr && Is(*running_, cancel.attempt())) running_->Cancel();
  const auto found = std::find_if(queued_.begin(), queued_.end(),
                                  [&](const auto& attempt) { return Is(*attempt, cancel.attempt()); });
  if (found == queued_.end()) return;
  GiveBackLocked(*found);
  queued_.erase(found);
  SendCreditsLocked();
}

void Worker::OnDrop(const v1::AttemptRef& ref) {
  absl::MutexLock lock(&mutex_);
  if (running_ != nullptr && Is(*running_, ref)) {
    running_->Cancel();
    running_ = nullptr;  // its outcome is thrown away when it comes
  }
  std::erase_if(queued_, [&](const auto& attempt) { return Is(*attempt, ref); });
  std::erase_if(undelivered_, [&](const Delivery& delivery) { return Is(*delivery.attempt, ref); });
  SendCreditsLocked();
}

void Worker::OnHeartbeatAck(const v1::HeartbeatAck& ack) {
  const absl::Duration now = options_.clock->Monotonic();
  absl::MutexLock lock(&mutex_);
  last_contact_ = now;
  if (ack.seq() == heartbeat_seq_) metrics_.ObserveHeartbeat(absl::ToDoubleSeconds(now - heartbeat_sent_));
}

// ---- heartbeats, and everything else that is written to the stream

void Worker::HeartbeatLoop() {
  while (true) {
    std::shared_ptr<SessionStream> stream;
    std::deque<v1::WorkerMessage> messages;
    bool leave = false;
    {
      absl::MutexLock lock(&mutex_);
      const bool was_connected = connected_;
      const auto wake = [this, was_connected]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return end_.has_value() || connected_ != was_connected || (connected_ && !outbox_.empty()) ||
               (drain_until_.has_value() && HoldsNothingLocked());
      };
      mutex_.AwaitWithTimeout(absl::Condition(&wake), HeartbeatWaitLocked());
      if (end_.has_value()) return;
      CheckTimesLocked();
      leave = drain_until_.has_value() &&
              (HoldsNothingLocked() || options_.clock->Monotonic() > *drain_until_ + kDrainGrace);
      if (connected_) {
        AddDueHeartbeatLocked();
        stream = stream_;
        messages.swap(outbox_);
      }
    }
    for (const v1::WorkerMessage& message : messages) {
      if (!stream->Write(message)) break;
    }
    if (!leave) continue;
    if (stream != nullptr) SayGoodbye(*stream);
    absl::MutexLock lock(&mutex_);
    EndLocked(absl::OkStatus());
  }
}

absl::Duration Worker::HeartbeatWaitLocked() const {
  constexpr absl::Duration kLongest = absl::Seconds(1);
  if (!connected_) return kLongest;
  const absl::Duration due = heartbeat_sent_ + HeartbeatInterval(welcome_);
  return std::clamp(due - options_.clock->Monotonic(), absl::ZeroDuration(), kLongest);
}

void Worker::AddDueHeartbeatLocked() {
  const absl::Duration now = options_.clock->Monotonic();
  if (now - heartbeat_sent_ < HeartbeatInterval(welcome_)) return;
  heartbeat_sent_ = now;
  v1::WorkerHeartbeat& heartbeat = *outbox_.emplace_back().mutable_heartbeat();
  heartbeat.set_seq(++heartbeat_seq_);
  if (running_ != nullptr) *heartbeat.add_running() = running_->Progress();
  for (const auto& attempt : queued_) {
    // One that waits its turn is not stuck.
    attempt->Advance(0, "queued");
    *heartbeat.add_running() = attempt->Progress();
  }
  for (const Delivery& delivery : undelivered_) *heartbeat.add_running() = delivery.attempt->Progress();
}

void Worker::CheckTimesLocked() {
  const absl::Duration now = options_.clock->Monotonic();
  const absl::Duration silence = now - last_contact_;
  const absl::Duration allowed = connected_ ? absl::Seconds(welcome_.lease_seconds()) : kWelcomeTimeout;
  if (stream_ != nullptr && silence > allowed) stream_->Cancel();
  if (drain_until_.has_value() && now > *drain_until_ && running_ != nullptr) running_->Cancel();
  if (HoldsNothingLocked() && now - idle_since_ > options_.exit_when_idle) RequestDrainLocked();
}

void Worker::SayGoodbye(SessionStream& stream) {
  v1::WorkerMessage goodbye;
  goodbye.mutable_goodbye();
  if (!stream.Write(goodbye)) return;
  stream.WritesDone();
  absl::MutexLock lock(&mutex_);
  const auto closed = [this]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !connected_ || end_.has_value(); };
  mutex_.AwaitWithTimeout(absl::Condition(&closed), kGoodbyeTimeout);
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
  absl::MutexLock lock(&mutex_);
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
