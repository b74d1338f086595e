// The part of the worker that talks to the coordinator: the session thread, which connects and reads, and the
// heartbeat thread, which writes.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "proto/grpc_status.h"
#include "proto/worker_api.h"
#include "worker/worker.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kShortestHeartbeat = absl::Milliseconds(5);
constexpr absl::Duration kWelcomeTimeout = absl::Seconds(10);
// After the drain timeout, for the last answers of the coordinator.
constexpr absl::Duration kDrainGrace = absl::Seconds(5);
constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(2);

bool Is(const Attempt& attempt, const v1::AttemptRef& ref) {
  return attempt.token() == ref.token() && attempt.spec().task() == ref.task();
}

absl::Duration HeartbeatInterval(const v1::Welcome& welcome) {
  return std::max(kShortestHeartbeat, absl::Seconds(welcome.heartbeat_seconds()));
}

}  // namespace

// ---- session

void Worker::SessionLoop() {
  Backoff holding(options_.reconnect_holding);
  Backoff idle(options_.reconnect_idle);
  while (true) {
    const absl::Status status = RunSession();
    absl::Duration pause;
    if (OnSessionEnd(status, holding, idle, pause)) return;
    if (pause == absl::ZeroDuration()) continue;
    Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning, status.ok() ? "session closed" : "session lost",
        {{"error", status.ToString()}, {"retry_in", absl::FormatDuration(pause)}});
    if (!PauseUnlessEnded(pause)) return;
    metrics_.CountReconnect();
  }
}

bool Worker::OnSessionEnd(const absl::Status& status, Backoff& holding, Backoff& idle,
                          absl::Duration& pause) {
  NotifyingLock lock(&mutex_, &changed_);
  if (connected_) {
    holding.Reset();
    idle.Reset();
    id_conflict_since_.reset();
  }
  connected_ = false;
  stream_ = nullptr;
  outbox_.clear();
  const bool start_again = std::exchange(claim_was_wrong_, false);
  if (IsFinalLocked(status)) EndLocked(status);
  if (!start_again) pause = HoldsNothingLocked() ? idle.Next() : holding.Next();
  return end_.has_value();
}

bool Worker::IsFinalLocked(const absl::Status& refusal) {
  if (absl::IsAlreadyExists(refusal)) {
    const absl::Duration now = options_.clock->Monotonic();
    if (!id_conflict_since_.has_value()) id_conflict_since_ = now;
    return now - *id_conflict_since_ >= options_.id_conflict_patience;
  }
  return absl::IsFailedPrecondition(refusal) || absl::IsPermissionDenied(refusal) ||
         absl::IsInvalidArgument(refusal);
}

bool Worker::PauseUnlessEnded(absl::Duration pause) {
  const absl::Duration until = options_.clock->Monotonic() + pause;
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  for (absl::Duration left = pause; left > absl::ZeroDuration(); left = until - options_.clock->Monotonic()) {
    if (changed_.AwaitFor(mutex_, left, ended)) return false;
  }
  return !end_.has_value();
}

absl::Status Worker::RunSession() {
  std::shared_ptr<SessionStream> stream = client_->OpenSession();
  {
    NotifyingLock lock(&mutex_, &changed_);
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
  hello.set_instance(instance_);
  hello.set_api_version(kWorkerApiVersion);
  hello.set_version(kProgramVersion);
  hello.set_device(options_.device);
  hello.set_threads(options_.threads);
  hello.set_memory_bytes(options_.memory_bytes);
  hello.set_determinism_class(options_.determinism_class);
  absl::MutexLock lock(&mutex_);
  hello.set_shared_blobs(claims_shared_);
  hello_credits_ = FreeCreditsLocked();
  hello.set_credits(hello_credits_);
  if (running_ != nullptr) *hello.add_held() = running_->ref();
  for (const auto& attempt : queued_) *hello.add_held() = attempt->ref();
  for (const Delivery& delivery : undelivered_) *hello.add_held() = delivery.attempt->ref();
  return message;
}

absl::StatusOr<BlobAccess> Worker::OpenBlobsFor(const v1::Welcome& welcome) {
  StreamedBlobStore::Options streamed;
  streamed.cache_dir = absl::StrCat(options_.scratch_dir, "/blobs");
  streamed.cache_bytes = options_.cache_bytes;
  streamed.cancelled = [this] {
    absl::MutexLock lock(&mutex_);
    return end_.has_value() || (running_ != nullptr && running_->cancelled());
  };
  BlobAccess current;
  {
    absl::MutexLock lock(&mutex_);
    current = blobs_;
  }
  return OpenBlobs(options_.blob_mode, welcome, current, streamed, client_->blobs(), metrics_);
}

absl::Status Worker::OnWelcome(const v1::Welcome& welcome) {
  ASSIGN_OR_RETURN(BlobAccess access, OpenBlobsFor(welcome));
  const bool shared = !access.shared_dir.empty();
  NotifyingLock lock(&mutex_, &changed_);
  blobs_ = std::move(access);
  if (shared != claims_shared_) {
    claims_shared_ = shared;
    claim_was_wrong_ = true;
    return absl::AbortedError("the session starts again to correct what was claimed about blobs");
  }
  Log(LogLevel::kInfo, "session established",
      {{"worker", options_.worker_id}, {"term", welcome.term()}, {"shared_blobs", shared}});
  welcome_ = welcome;
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
  NotifyingLock lock(&mutex_, &changed_);
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
  NotifyingLock lock(&mutex_, &changed_);
  if (running_ != nullptr && Is(*running_, cancel.attempt())) running_->Cancel();
  const auto found = std::find_if(queued_.begin(), queued_.end(),
                                  [&](const auto& attempt) { return Is(*attempt, cancel.attempt()); });
  if (found == queued_.end()) return;
  GiveBackLocked(*found);
  queued_.erase(found);
  SendCreditsLocked();
}

void Worker::OnDrop(const v1::AttemptRef& ref) {
  NotifyingLock lock(&mutex_, &changed_);
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
      changed_.AwaitFor(mutex_, HeartbeatWaitLocked(), wake);
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
    NotifyingLock lock(&mutex_, &changed_);
    EndLocked(after_drain_);
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
  changed_.AwaitFor(mutex_, kGoodbyeTimeout, closed);
}

}  // namespace quantmoe
