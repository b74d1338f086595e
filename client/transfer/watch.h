// Follows a job's event log to its end, across lost connections: every event once and in order. No output
// here; see watch_command and progress_view.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include <quantmoe/v1/jobs.pb.h>

#include "client/transfer/connection.h"

namespace quantmoe {

// Told what happens, on the thread that called FollowJob.
class WatchObserver {
 public:
  virtual ~WatchObserver() = default;
  // Events with a sequence number come once and in order; heartbeats are not passed on.
  virtual void OnEvent(const v1::JobEvent& event) = 0;
  // The server cannot be reached, or not any more, and will be tried again.
  virtual void OnConnectionLost(const absl::Status& /*status*/) {}
  // Called several times a second.
  virtual void OnTick() {}
  // True ends the watch; asked at every tick.
  virtual bool Detached() { return false; }
};

struct WatchOptions {
  std::string job;        // `jobs/{job}`
  int64_t after_seq = 0;  // exclusive
  // A stream without any message for this long counts as lost: three heartbeats.
  absl::Duration silence_limit = absl::Seconds(45);
  // Ends the watch when the server could not be reached for this long.
  absl::Duration give_up_after = absl::Minutes(15);
  // Ends the watch when the workers that ran the job have all died and none has come for this long: long
  // enough for whoever restarts them.
  absl::Duration worker_patience = absl::Seconds(15);
};

// The job as it is now. Tries again while the server is away, as FollowJob does; nothing when the observer
// detached. Errors as there.
absl::StatusOr<std::optional<v1::Job>> AwaitJob(const Connection& connection, const WatchOptions& options,
                                                WatchObserver& observer);

// Returns the state that ended the job, or STATE_UNSPECIFIED when the observer detached. Errors: what the
// server says (NOT_FOUND), UNAVAILABLE after `give_up_after`, FAILED_PRECONDITION NO_WORKER_LEFT after
// `worker_patience`, DATA_LOSS when the log has a gap.
absl::StatusOr<v1::Job::State> FollowJob(const Connection& connection, WatchOptions options,
                                         WatchObserver& observer);

}  // namespace quantmoe
