#include "server/decide/scheduler.h"

#include <algorithm>
#include <map>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kFirstRetryDelay = absl::Seconds(1);
constexpr absl::Duration kMaxRetryDelay = absl::Seconds(60);

// The facts of a worker as one round of planning uses them up.
struct FreeWorker {
  const WorkerFacts* facts;
  int credits;
  int64_t free_memory_bytes;
};

int64_t UsedMemory(const JobTable& jobs, const std::string& worker) {
  int64_t used = 0;
  for (const TaskRef& ref : jobs.RunningOn(worker)) {
    used += jobs.FindTask(ref.job, ref.task)->definition().memory_bytes;
  }
  return used;
}

std::vector<FreeWorker> FindFreeWorkers(const JobTable& jobs, const WorkerTable& workers,
                                        const SchedulingLimits& limits, absl::Duration now) {
  std::vector<FreeWorker> free;
  for (const auto& [id, worker] : workers) {
    const bool usable = worker.connected && !worker.draining && worker.credits > 0 &&
                        worker.rests_until <= now && !IsSuspect(worker, limits, now);
    if (!usable) continue;
    free.push_back({&worker, worker.credits, worker.memory_bytes - UsedMemory(jobs, id)});
  }
  return free;
}

bool HasLargerWorker(const WorkerTable& workers, int64_t memory_bytes) {
  return std::any_of(workers.begin(), workers.end(), [&](const auto& entry) {
    return entry.second.connected && !entry.second.draining && entry.second.memory_bytes > memory_bytes;
  });
}

bool Fits(const Task& task, const FreeWorker& worker, const WorkerTable& workers) {
  if (task.definition().memory_bytes > worker.free_memory_bytes) return false;
  const int64_t exhausted = task.record.exhausted_memory_bytes();
  return exhausted == 0 || worker.facts->memory_bytes > exhausted || !HasLargerWorker(workers, exhausted);
}

// Whether the worker could run the task at some time: not whether it is free.
bool CouldRun(const Job& job, const Task& task, const WorkerFacts& worker, const SchedulingLimits& limits,
              absl::Duration now) {
  const std::string& wanted = job.record.determinism_class();
  return !worker.draining && !IsSuspect(worker, limits, now) &&
         (wanted.empty() || worker.determinism_class == wanted) &&
         worker.memory_bytes >= task.definition().memory_bytes;
}

// A worker that failed the task gets it again only when no other that could run it has failed it less often.
bool IsKeptFrom(const WorkerFacts& worker, const Job& job, const Task& task, const WorkerTable& workers,
                const SchedulingLimits& limits, absl::Duration now) {
  const int failures = FailuresOn(task.record, worker.id);
  if (failures == 0) return false;
  return std::any_of(workers.begin(), workers.end(), [&](const auto& entry) {
    return FailuresOn(task.record, entry.first) < failures && entry.second.rests_until <= now &&
           CouldRun(job, task, entry.second, limits, now);
  });
}

class Round {
 public:
  Round(const JobTable& jobs, const WorkerTable& workers, const SchedulingLimits& limits, absl::Duration now)
      : jobs_(jobs),
        workers_(workers),
        limits_(limits),
        now_(now),
        free_(FindFreeWorkers(jobs, workers, limits, now)) {
    for (const auto& [id, job] : jobs.jobs()) {
      const bool runs = job.record.state() == v1::Job::QUEUED || job.record.state() == v1::Job::RUNNING;
      if (runs && !job.graph.ready().empty())
        queue_.insert({job.last_assigned, job.record.create_number(), &job});
    }
  }

  Schedule Run() {
    int64_t served = INT64_MAX / 2;  // jobs served in this round go behind all others
    while (!queue_.empty() && !free_.empty()) {
      const auto [order, number, job] = *queue_.begin();
      queue_.erase(queue_.begin());
      if (Serve(*job)) queue_.insert({served++, number, job});
    }
    return std::move(schedule_);
  }

 private:
  // Gives the job one worker; false when nothing of it can run now.
  bool Serve(const Job& job) {
    for (const auto& [height, index] : job.graph.ready()) {
      const Task& task = job.tasks[index];
      const TaskRef ref{job.record.id(), task.label()};
      if (task.awaits_lookup || taken_.contains(index_key(ref)) || task.run_after > now_ || KeyIsTaken(task))
        continue;
      const auto worker = FindWorker(job, task);
      if (worker == free_.end()) continue;
      Take(job, task, worker);
      return !job.record.determinism_class().empty();
    }
    return false;
  }

  static std::string index_key(const TaskRef& ref) { return absl::StrCat(ref.job, "/", ref.task); }

  bool KeyIsTaken(const Task& task) const {
    const std::string& key = task.key();
    return !key.empty() && (jobs_.KeyIsRunning(key) || taken_keys_.contains(key));
  }

  std::vector<FreeWorker>::iterator FindWorker(const Job& job, const Task& task) {
    const std::string& wanted = job.record.determinism_class();
    return std::find_if(free_.begin(), free_.end(), [&](const FreeWorker& worker) {
      return (wanted.empty() || worker.facts->determinism_class == wanted) && Fits(task, worker, workers_) &&
             !IsKeptFrom(*worker.facts, job, task, workers_, limits_, now_);
    });
  }

  void Take(const Job& job, const Task& task, std::vector<FreeWorker>::iterator worker) {
    if (job.record.determinism_class().empty()) {
      schedule_.bindings.push_back({job.record.id(), worker->facts->determinism_class});
      return;
    }
    schedule_.assignments.push_back({job.record.id(), task.label(), worker->facts->id});
    taken_.insert(index_key({job.record.id(), task.label()}));
    if (!task.key().empty()) taken_keys_.insert(task.key());
    worker->free_memory_bytes -= task.definition().memory_bytes;
    // The next task goes to another worker first, so that work spreads.
    FreeWorker used = *worker;
    free_.erase(worker);
    if (--used.credits > 0) free_.push_back(used);
  }

  const JobTable& jobs_;
  const WorkerTable& workers_;
  const SchedulingLimits& limits_;
  const absl::Duration now_;
  std::vector<FreeWorker> free_;
  std::set<std::tuple<int64_t, int64_t, const Job*>> queue_;
  absl::flat_hash_set<std::string> taken_;
  absl::flat_hash_set<std::string> taken_keys_;
  Schedule schedule_;
};

}  // namespace

Schedule MakeSchedule(const JobTable& jobs, const WorkerTable& workers, const SchedulingLimits& limits,
                      absl::Duration now) {
  return Round(jobs, workers, limits, now).Run();
}

std::vector<std::string> ExpiredWorkers(const WorkerTable& workers, const SchedulingLimits& limits,
                                        absl::Duration now) {
  std::vector<std::string> expired;
  for (const auto& [id, worker] : workers) {
    if (now - worker.last_heard >= limits.lease) expired.push_back(id);
  }
  return expired;
}

bool IsSuspect(const WorkerFacts& worker, const SchedulingLimits& limits, absl::Duration now) {
  return !worker.connected || now - worker.last_heard >= 2 * limits.heartbeat;
}

bool HasUntriedWorker(const Job& job, const Task& task, const WorkerTable& workers,
                      const SchedulingLimits& limits, absl::Duration now) {
  return std::any_of(workers.begin(), workers.end(), [&](const auto& entry) {
    return FailuresOn(task.record, entry.first) == 0 && CouldRun(job, task, entry.second, limits, now);
  });
}

bool IsExhausted(const Job& job, const Task& task, const WorkerTable& workers, const SchedulingLimits& limits,
                 absl::Duration now) {
  if (task.record.memory_failures() > limits.memory_retries) return true;
  if (WorkersThatFailed(task.record) >= limits.failing_workers) return true;
  return Faults(task.record) > limits.fault_retries && !HasUntriedWorker(job, task, workers, limits, now);
}

std::optional<TaskRef> FindSuspect(const JobTable& jobs, absl::string_view worker) {
  std::optional<TaskRef> suspect;
  absl::Duration earliest = absl::InfiniteDuration();
  for (const TaskRef& ref : jobs.RunningOn(worker)) {
    const Task& task = *jobs.FindTask(ref.job, ref.task);
    if (!task.acknowledged || task.started_at >= earliest) continue;
    earliest = task.started_at;
    suspect = ref;
  }
  return suspect;
}

absl::Duration RetryDelay(int failures) {
  absl::Duration delay = kFirstRetryDelay;
  for (int i = 1; i < failures && delay < kMaxRetryDelay; ++i) delay *= 2;
  return std::min(delay, kMaxRetryDelay);
}

}  // namespace quantmoe
