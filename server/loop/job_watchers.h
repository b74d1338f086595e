// Who follows which job. Watchers are told that the log grew and read it themselves, so that a slow one costs
// nothing but its own delay and never sees a gap. On the commit loop's thread.
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
#include "server/facts/loop_thread.h"
#include "server/loop/metrics.h"

namespace quantmoe {

// One open watch. Told from the commit loop's thread; never blocks.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  // The log reaches `last_seq`; nothing follows when `ended`.
  virtual void LogGrew(int64_t last_seq, bool ended) ON_LOOP = 0;
  virtual void JobGone() ON_LOOP = 0;
  // May be dropped.
  virtual void Progress(const v1::Progress& progress) ON_LOOP = 0;
  // The newest one arrives, those before it may be dropped.
  virtual void Waiting(const v1::Waiting& waiting) ON_LOOP = 0;
  virtual void Heartbeat(int64_t last_seq) ON_LOOP = 0;
  virtual void Close(const absl::Status& status) ON_LOOP = 0;
};

class JobWatchers {
 public:
  explicit JobWatchers(Metrics& metrics) : metrics_(metrics) {}

  // RESOURCE_EXHAUSTED TOO_MANY_WATCHERS.
  absl::Status Add(const Job& job, std::shared_ptr<JobWatcher> watcher, absl::Duration now) ON_LOOP;
  void Remove(const std::string& job, const std::shared_ptr<JobWatcher>& watcher) ON_LOOP;
  // After a commit: jobs whose log grew or that are gone.
  void Notify(const JobTable& table, const std::set<std::string>& jobs) ON_LOOP;
  // Progress at most twice a second, why the job waits at once, a heartbeat every 15 s.
  void Tick(const JobTable& table, absl::Duration now) ON_LOOP;
  void CloseAll(const absl::Status& status) ON_LOOP;

 private:
  struct Followed {
    std::set<std::shared_ptr<JobWatcher>> watchers;
    int64_t shown_version = -1;
    v1::Waiting shown_waiting;
    absl::Duration progress_at = -absl::InfiniteDuration();
    absl::Duration heartbeat_at;
  };
  static constexpr int kMaxWatchers = 2000;
  static void ShowProgress(const Job& job, Followed& followed) ON_LOOP;
  static void ShowWaiting(const Job& job, Followed& followed) ON_LOOP;

  Metrics& metrics_;
  int count_ OF_LOOP = 0;
  std::map<std::string, Followed> followed_ OF_LOOP;
};

}  // namespace quantmoe
