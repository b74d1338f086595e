// Metrics behind verbs: callers say what happened, and never see the metrics library. Names:
// docs/operations.md. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "plan/graph/task_kind.h"

namespace quantmoe {

// How a finished job came out; empty numbers: not measured.
struct JobQuality {
  std::string job;
  double original_perplexity = 0;
  double perplexity = 0;
  double uniform_perplexity = 0;  // 0: there is no uniform plan of the budget, or it is the plan
  std::string recommends;         // "plan", "uniform", "either", or empty
};

// Counts that are taken from the facts at regular intervals, so that gauges cannot drift.
struct FactCounts {
  std::map<std::string, int> jobs;                        // by state
  std::map<std::pair<std::string, TaskKind>, int> tasks;  // by state and kind
  std::map<std::string, int> workers;                     // by state
  int ready_tasks = 0;
  absl::Duration oldest_ready_age;
  std::vector<JobQuality> newest_qualities;  // of the newest finished jobs that were measured
};

class Metrics {
 public:
  Metrics(absl::string_view version, int64_t term);
  ~Metrics();

  void JobSubmitted(absl::string_view heuristic);
  void JobFinished(absl::string_view outcome, absl::Duration duration);
  void AttemptEnded(TaskKind kind, absl::string_view outcome);
  void TaskWaited(TaskKind kind, absl::Duration time);
  void TaskRan(TaskKind kind, absl::Duration time);
  void WorkerLost(absl::string_view cause);
  void LeaseExpired();
  void CommitFenced(absl::string_view reason);
  void ResultsDiffer();
  void TaskAdopted();
  void RequestReplayed();
  void StoreCommitted(absl::Duration time, size_t rows, bool ok);
  void Recovered(absl::Duration time);
  void WatchersChanged(int delta);
  void BlobBytes(absl::string_view direction, int64_t bytes);
  void StoredBlobBytes(int64_t bytes);
  void GarbageCollected(int64_t bytes);
  void DiskFree(int64_t bytes);
  void DiskFull(bool full);
  void QuarantinedBlobs(int64_t blobs);
  void ResultReopened(TaskKind kind);
  void RecordsSetAside(size_t jobs);
  void RpcStarted(absl::string_view service, absl::string_view method);
  void RpcHandled(absl::string_view service, absl::string_view method, absl::string_view code,
                  absl::Duration time);
  void Refresh(const FactCounts& counts);

  // Makes the series of a method exist at zero, so that the first failure is an increase.
  void ExpectRpc(absl::string_view service, absl::string_view method, absl::string_view code);

  // The text that Prometheus scrapes.
  std::string Serialize() const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace quantmoe
