// What the coordinator remembers across restarts. One leader writes; Commit is one transaction, so that an
// event that a client can see is durable, together with the state that it tells about. Every write is fenced
// by the leader's term.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "server/facts/loop_thread.h"
#include "server/facts/state.pb.h"

namespace quantmoe {

// ---- Changes, applied in order ----

struct PutJob {
  server::JobRecord record;
};
struct PutTask {
  std::string job;
  int index = 0;
  std::optional<server::TaskDefinition> definition = {};  // only when the task is new
  server::TaskRecord record = {};
};
struct AppendEvent {
  std::string job;
  int64_t seq = 0;
  std::string payload;  // quantmoe.v1.JobEvent
};
struct PutCachedResult {
  std::string key;
  std::vector<v1::TaskBlob> outputs;
  absl::Time time;
};
struct TouchCachedResult {
  std::string key;
  absl::Time time;
};
struct DeleteCachedResult {
  std::string key;
  absl::Time unused_since = absl::InfiniteFuture();  // stays when it was used after that
};
// The job with its tasks, events and request id.
struct DeleteJobRows {
  std::string job;
};
using Change = std::variant<PutJob, PutTask, AppendEvent, PutCachedResult, TouchCachedResult,
                            DeleteCachedResult, DeleteJobRows>;

// ---- Reads ----

struct StoredJob {
  server::JobRecord record;
  std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> tasks;  // by index
  // Not OK when rows of the job cannot be read. They stay in the store as they are, and what is given here
  // stands for them: the job as FAILED unless it had ended, without tasks.
  absl::Status unreadable = {};
};
struct StoredEvent {
  int64_t seq = 0;
  std::string payload;
};
struct CachedResult {
  std::string key;
  std::vector<v1::TaskBlob> outputs;
  absl::Time last_used;
};

// Commit and LoadJobs are the commit loop's; the other reads are for threads that may wait.
class StateStore {
 public:
  virtual ~StateStore() = default;

  // Grows by one whenever a coordinator takes the store over.
  virtual int64_t term() const = 0;
  // All or nothing, durable when it returns. ABORTED STALE_TERM when another coordinator took over;
  // RESOURCE_EXHAUSTED DISK_FULL; UNAVAILABLE DISK_READ_ONLY; INTERNAL otherwise. ALREADY_EXISTS when a
  // request id is already another job's.
  virtual absl::Status Commit(const std::vector<Change>& changes) ON_LOOP = 0;
  virtual absl::StatusOr<std::vector<StoredJob>> LoadJobs() ON_LOOP = 0;

  // Events after `after_seq`, oldest first, at most `limit`.
  virtual absl::StatusOr<std::vector<StoredEvent>> ReadEvents(absl::string_view job, int64_t after_seq,
                                                              int limit) NEVER_ON_LOOP = 0;
  // Those of the keys that are known.
  virtual absl::StatusOr<std::vector<CachedResult>> FindCachedResults(const std::vector<std::string>& keys)
      NEVER_ON_LOOP = 0;
  // Skips results that cannot be read; `unreadable` gets their keys. Other reads go on meanwhile.
  virtual absl::Status VisitCachedResults(const std::function<void(const CachedResult&)>& visit,
                                          std::vector<std::string>& unreadable) NEVER_ON_LOOP = 0;
};

}  // namespace quantmoe
