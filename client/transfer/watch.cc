#include "client/transfer/watch.h"

#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "base/clock.h"
#include "base/error_info.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "base/timed_wait.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(200);

absl::Duration Now() { return Clock::Real().Monotonic(); }

// One WatchJob call. A thread reads it, so that the watcher can tick and detach while the stream is quiet.
class EventStream {
 public:
  EventStream(const Connection& connection, const std::string& job, int64_t after_seq) {
    connection.Prepare(context_, absl::InfiniteDuration());
    v1::WatchJobRequest request;
    request.set_name(job);
    request.set_after_seq(after_seq);
    reader_ = connection.jobs().WatchJob(&context_, request);
    thread_ = std::thread([this] { ReadAll(); });
  }

  ~EventStream() {
    {
      absl::MutexLock lock(&mutex_);
      closed_ = true;
    }
    context_.TryCancel();
    thread_.join();
  }

  // The next message, waiting for `kTick` at most.
  std::optional<v1::JobEvent> Next() {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return !events_.empty() || end_.has_value();
    };
    changed_.AwaitFor(mutex_, kTick, ready);
    if (events_.empty()) return std::nullopt;
    v1::JobEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

  // How the call ended; only after all its messages have been taken.
  std::optional<absl::Status> End() {
    absl::MutexLock lock(&mutex_);
    return events_.empty() ? end_ : std::nullopt;
  }

 private:
  // Bounds memory when the log is read faster than it is shown.
  static constexpr size_t kMaxQueued = 4096;

  void ReadAll() {
    v1::JobEvent event;
    while (reader_->Read(&event)) {
      absl::MutexLock lock(&mutex_);
      const auto room = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return closed_ || events_.size() < kMaxQueued;
      };
      mutex_.Await(absl::Condition(&room));
      events_.push_back(std::move(event));
      changed_.NotifyAll();
    }
    absl::Status status = FromGrpcStatus(reader_->Finish());
    NotifyingLock lock(&mutex_, &changed_);
    end_ = std::move(status);
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::JobEvent>> reader_;
  absl::Mutex mutex_;
  TimedWait changed_;
  std::deque<v1::JobEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// False when the observer detached meanwhile.
bool Wait(absl::Duration duration, WatchObserver& observer) {
  const absl::Duration end = Now() + duration;
  while (!observer.Detached()) {
    observer.OnTick();
    const absl::Duration left = end - Now();
    if (left <= absl::ZeroDuration()) return true;
    absl::SleepFor(std::min(left, kTick));
  }
  return false;
}

class JobFollower {
 public:
  JobFollower(const Connection& connection, WatchOptions options, WatchObserver& observer)
      : connection_(connection), options_(std::move(options)), observer_(observer) {}

  absl::StatusOr<v1::Job::State> Run() {
    Backoff backoff(connection_.backoff());
    while (true) {
      heard_ = false;
      absl::StatusOr<v1::Job::State> state = FollowOneStream();
      if (state.ok() || !IsRetryable(state.status())) return state;
      if (Now() - last_contact_ > options_.give_up_after) return state;
      if (heard_) backoff.Reset();
      observer_.OnConnectionLost(state.status());
      if (!Wait(backoff.Next(), observer_)) return v1::Job::STATE_UNSPECIFIED;
    }
  }

 private:
  absl::StatusOr<v1::Job::State> FollowOneStream() {
    EventStream stream(connection_, options_.job, options_.after_seq);
    dead_since_.reset();
    absl::Duration last_message = Now();
    while (!observer_.Detached()) {
      observer_.OnTick();
      RETURN_IF_ERROR(CheckWorkers());
      if (const std::optional<v1::JobEvent> event = stream.Next()) {
        last_message = last_contact_ = Now();
        heard_ = true;
        RETURN_IF_ERROR(Take(*event));
        continue;
      }
      if (const std::optional<absl::Status> end = stream.End()) {
        if (end->ok() && IsTerminal(state_)) return state_;
        return end->ok() ? absl::UnavailableError("the stream ended before the job") : *end;
      }
      if (Now() - last_message > options_.silence_limit)
        return absl::UnavailableError("the server is silent");
    }
    return v1::Job::STATE_UNSPECIFIED;
  }

  // Events that a resumed stream repeats are dropped; a hole in the log is never passed over.
  absl::Status Take(const v1::JobEvent& event) {
    if (event.event_case() == v1::JobEvent::kHeartbeat) return absl::OkStatus();
    if (event.seq() != 0) {
      if (event.seq() <= options_.after_seq) return absl::OkStatus();
      if (event.seq() != options_.after_seq + 1) {
        return absl::DataLossError(absl::StrCat("event ", event.seq(), " of ", options_.job,
                                                " came after event ", options_.after_seq));
      }
      options_.after_seq = event.seq();
    }
    if (event.has_state_changed()) state_ = event.state_changed().state();
    if (event.has_waiting()) NoteWaiting(event.waiting());
    observer_.OnEvent(event);
    return absl::OkStatus();
  }

  void NoteWaiting(const v1::Waiting& waiting) {
    why_ = waiting.reason();
    if (waiting.cause() != v1::Waiting::WORKERS_DIED) {
      dead_since_.reset();
    } else if (!dead_since_.has_value()) {
      dead_since_ = Now();
    }
  }

  absl::Status CheckWorkers() const {
    const bool patient = !dead_since_.has_value() || Now() - *dead_since_ < options_.worker_patience;
    if (patient) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_WORKER_LEFT",
                     absl::StrCat(options_.job, ": ", why_));
  }

  const Connection& connection_;
  WatchOptions options_;
  WatchObserver& observer_;
  std::string why_;                           // it waits
  std::optional<absl::Duration> dead_since_;  // monotonic
  v1::Job::State state_ = v1::Job::STATE_UNSPECIFIED;
  absl::Duration last_contact_ = Now();
  bool heard_ = false;
};

}  // namespace

absl::StatusOr<std::optional<v1::Job>> AwaitJob(const Connection& connection, const WatchOptions& options,
                                                WatchObserver& observer) {
  v1::GetJobRequest request;
  request.set_name(options.job);
  Backoff backoff(connection.backoff());
  const absl::Duration start = Now();
  while (true) {
    absl::StatusOr<v1::Job> job = connection.Call(connection.jobs(), &v1::JobService::Stub::GetJob, request);
    if (job.ok()) return *std::move(job);
    if (!IsRetryable(job.status()) || Now() - start > options.give_up_after) return job.status();
    observer.OnConnectionLost(job.status());
    if (!Wait(backoff.Next(), observer)) return std::nullopt;
  }
}

absl::StatusOr<v1::Job::State> FollowJob(const Connection& connection, WatchOptions options,
                                         WatchObserver& observer) {
  return JobFollower(connection, std::move(options), observer).Run();
}

}  // namespace quantmoe
