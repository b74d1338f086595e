// One worker process: a session with the coordinator, one attempt at a time, results delivered until they are
// answered. Four threads: compute runs attempts; session connects and reads; heartbeat is the only writer of
// the stream and never touches compute; delivery calls CompleteTask and FailTask.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/retry.h"
#include "base/timed_wait.h"
#include "net/http_endpoint.h"
#include "worker/blob_access.h"
#include "worker/coordinator_client.h"
#include "worker/metrics.h"
#include "worker/task_runner.h"

namespace quantmoe {

class Worker {
 public:
  struct Options {
    CoordinatorClient::Options coordinator;
    std::string worker_id;  // empty: host name, process id and a random number
    // How long the worker asks again when another one is connected under its id: longer than the usual lease,
    // so that it may follow one that vanished without a word.
    absl::Duration id_conflict_patience = absl::Seconds(30);
    std::string device = "cpu";
    int threads = 1;  // reported only; who links the numerics sets them
    // What one task may need; a task that needs more is not taken. 0: no limit.
    int64_t memory_bytes = 0;
    std::string determinism_class;
    TaskFunction run_task;
    // What `run_task` computes on, which must outlive the worker; null where it computes nothing.
    const ComputeDevice* compute_device = nullptr;
    ModelSources models;
    BlobMode blob_mode = BlobMode::kAuto;
    // For the cache of streamed blobs; created when it is missing.
    std::string scratch_dir;
    int64_t cache_bytes = int64_t{16} << 30;
    // host:port of /metrics, /healthz and /readyz; empty: none.
    std::string http_address;
    // How long a drain lets the running attempt go on before it is given back.
    absl::Duration drain_timeout = absl::Minutes(5);
    // Drains by itself after this long without an attempt.
    absl::Duration exit_when_idle = absl::InfiniteDuration();
    // Waits before the session is opened again. With attempts held the longest wait must stay below the
    // coordinator's recovery window, or it would not adopt them.
    BackoffOptions reconnect_holding = {.maximum = absl::Seconds(5)};
    BackoffOptions reconnect_idle = {.maximum = absl::Seconds(30)};
    const Clock* clock = &Clock::Real();
  };

  // Returns at once; the connection is made, and made again, in the background.
  // INVALID_ARGUMENT or NOT_FOUND for bad options, UNAVAILABLE when the HTTP address is taken.
  static absl::StatusOr<std::unique_ptr<Worker>> Start(Options options);
  // Stops.
  ~Worker();

  // Finishes the running attempt, gives queued ones back and says goodbye; AwaitEnd then returns. Does not
  // block.
  void RequestDrain();
  // Waits until the worker has left by a drain (its own, the coordinator's, or for idleness) or can not go
  // on. OK after a drain; FAILED_PRECONDITION when the coordinator refuses this worker or its blobs can not
  // be reached; what a task failed with when that leaves the process without its device (DEVICE_FAILURE).
  absl::Status AwaitEnd();
  // RequestDrain and AwaitEnd.
  absl::Status Drain();
  // Ends at once: cancels what runs, tells nobody. Idempotent.
  void Stop();

  bool ready() const;  // a session is established and the worker is not draining
  bool shares_blobs() const;
  const std::string& id() const { return options_.worker_id; }
  int http_port() const { return endpoint_ == nullptr ? 0 : endpoint_->port(); }
  WorkerMetrics& metrics() { return metrics_; }

 private:
  // An ended attempt whose outcome the coordinator has not answered yet.
  struct Delivery {
    std::shared_ptr<Attempt> attempt;
    TaskOutcome outcome;
  };

  Worker(Options options, std::unique_ptr<CoordinatorClient> client);

  void ComputeLoop();
  void RunOne(const std::shared_ptr<Attempt>& attempt, const std::shared_ptr<BlobStore>& blobs);

  void SessionLoop();
  absl::Status RunSession();
  // Whether the session goes on.
  absl::Status OnWelcome(const v1::Welcome& welcome);
  absl::StatusOr<BlobAccess> OpenBlobsFor(const v1::Welcome& welcome);
  // Ends the session's state; true when the worker ends too. `pause` is how long to wait before the next one.
  bool OnSessionEnd(const absl::Status& status, Backoff& holding, Backoff& idle, absl::Duration& pause);
  void OnMessage(const v1::CoordinatorMessage& message);
  void OnAssign(const v1::Assign& assign);
  void OnCancel(const v1::CancelTask& cancel);
  void OnDrop(const v1::AttemptRef& ref);
  void OnHeartbeatAck(const v1::HeartbeatAck& ack);
  v1::WorkerMessage MakeHello();
  // Waits; false as soon as the worker ends.
  bool PauseUnlessEnded(absl::Duration pause);

  void HeartbeatLoop();
  void AddDueHeartbeatLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckTimesLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration HeartbeatWaitLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SayGoodbye(SessionStream& stream);

  void DeliveryLoop();
  // Forgets a delivery that was answered, or turns a result that is refused into a failure to report.
  void Settle(const Delivery& delivery, const absl::Status& answer);

  void RequestDrainLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBackLocked(std::shared_ptr<Attempt> attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendCreditsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int FreeCreditsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HoldsNothingLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AdmissionLocked(const v1::TaskSpec& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Whether the coordinator will not have this worker, however often it asks.
  bool IsFinalLocked(const absl::Status& refusal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::string instance_;
  const std::unique_ptr<CoordinatorClient> client_;
  WorkerMetrics metrics_;

  mutable absl::Mutex mutex_;
  // Notified by whoever may end the wait of the heartbeat thread, or a pause.
  TimedWait changed_;
  // Attempts, in the order of their life.
  std::deque<std::shared_ptr<Attempt>> queued_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Attempt> running_ ABSL_GUARDED_BY(mutex_);
  std::deque<Delivery> undelivered_ ABSL_GUARDED_BY(mutex_);
  // Session. `stream_` is set from dialling until the end, `connected_` from Welcome until the end.
  std::shared_ptr<SessionStream> stream_ ABSL_GUARDED_BY(mutex_);
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<v1::WorkerMessage> outbox_ ABSL_GUARDED_BY(mutex_);
  v1::Welcome welcome_ ABSL_GUARDED_BY(mutex_);
  BlobAccess blobs_ ABSL_GUARDED_BY(mutex_);
  int hello_credits_ ABSL_GUARDED_BY(mutex_) = 0;
  // What Hello claims about shared blobs. Only Welcome shows whether it is true; when not, the session starts
  // again.
  bool claims_shared_ ABSL_GUARDED_BY(mutex_);
  bool claim_was_wrong_ ABSL_GUARDED_BY(mutex_) = false;
  // Times on the monotonic clock.
  int64_t heartbeat_seq_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration heartbeat_sent_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_contact_ ABSL_GUARDED_BY(mutex_);
  absl::Duration idle_since_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Duration> id_conflict_since_ ABSL_GUARDED_BY(mutex_);
  // End.
  std::optional<absl::Duration> drain_until_ ABSL_GUARDED_BY(mutex_);
  absl::Status after_drain_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<HttpEndpoint> endpoint_;
  std::vector<std::thread> threads_;
};

}  // namespace quantmoe
