// Who follows which job. Watchers are told that the log grew and read it themselves, so that a slow one costs
// nothing but its own delay and never sees a gap. Used on the commit loop's thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "quantmoe/v1/jobs.pb.h"
#include "server/facts/job_table.h"
#include "server/loop/metrics.h"

namespace quantmoe {

// One open watch. Thread-safe; never blocks.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  // The log reaches `last_seq`; nothing follows when `ended`.
  virtual void LogGrew(int64_t last_seq, bool ended) = 0;
  virtual void JobGone() = 0;
  // May be dropped.
  virtual void Progress(const v1::Progress& progress) = 0;
  // The newest one arrives, those before it may be dropped.
  virtual void Waiting(const v1::Waiting& waiting) = 0;
  virtual void Heartbeat(int64_t last_seq) = 0;
  virtual void Close(const absl::Status& status) = 0;
};

class JobWatchers {
 public:
  explicit JobWatchers(Metrics& metrics) : metrics_(metrics) {}

  // RESOURCE_EXHAUSTED TOO_MANY_WATCHERS.
  absl::Status Add(const Job& job, std::shared_ptr<JobWatcher> watcher, absl::Duration now);
  void Remove(const std::string& job, const std::shared_ptr<JobWatcher>& watcher);
  // After a commit: jobs whose log grew or that are gone.
  void Notify(const JobTable& table, const std::set<std::string>& jobs);
  // Progress at most twice a second, why the job waits at once, a heartbeat every 15 s.
  void Tick(const JobTable& table, absl::Duration now);
  void CloseAll(const absl::Status& status);

 private:
  struct Followed {
    std::set<std::shared_ptr<JobWatcher>> watchers;
    int64_t shown_version = -1;
    v1::Waiting shown_waiting;
    absl::Duration progress_at = -absl::InfiniteDuration();
    absl::Duration heartbeat_at;
  };
  static constexpr int kMaxWatchers = 2000;
  static void ShowProgress(const Job& job, Followed& followed);
  static void ShowWaiting(const Job& job, Followed& followed);

  Metrics& metrics_;
  int count_ = 0;
  std::map<std::string, Followed> followed_;
};

}  // namespace quantmoe
