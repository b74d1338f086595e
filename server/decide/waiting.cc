#include "server/decide/waiting.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

constexpr size_t kMostNames = 3;

bool IsGone(const WorkerTable& workers, const std::string& id) {
  const auto worker = workers.find(id);
  return worker == workers.end() || !worker->second.connected;
}

// The first few names, and how many there are beside them.
std::string Names(const std::set<std::string>& names) {
  const size_t shown = std::min(names.size(), kMostNames);
  const std::string listed = absl::StrJoin(names.begin(), std::next(names.begin(), shown), ", ");
  return shown == names.size() ? listed : absl::StrCat(listed, " and ", names.size() - shown, " more");
}

// Who died of which unfinished task of the job.
struct Casualties {
  int deaths = 0;
  std::set<std::string> tasks;
  std::set<std::string> workers;
};

Casualties FindCasualties(const Job& job, const JobTable& jobs, const WorkerTable& workers) {
  Casualties found;
  for (const auto& [height, index] : job.graph.ready()) {
    const Task& task = job.tasks[index];
    if (Deaths(task.record) == 0) continue;
    found.deaths += Deaths(task.record);
    found.tasks.insert(task.label());
    found.workers.merge(WorkersThatDied(task.record));
  }
  // Those that are gone and whose leases go on.
  for (const int index : job.graph.running()) {
    const Task& task = job.tasks[index];
    const std::string& worker = task.record.worker();
    if (!IsGone(workers, worker)) continue;
    const std::optional<TaskRef> suspect = FindSuspect(jobs, worker);
    found.deaths += Deaths(task.record);
    found.workers.merge(WorkersThatDied(task.record));
    if (suspect != TaskRef{job.record.id(), task.label()}) continue;
    ++found.deaths;
    found.tasks.insert(task.label());
    found.workers.insert(worker);
  }
  return found;
}

bool AllDied(const Job& job, const Casualties& casualties) {
  if (job.dead_workers.empty() && casualties.workers.empty()) return false;
  return std::all_of(job.workers.begin(), job.workers.end(), [&](const std::string& worker) {
    return job.dead_workers.contains(worker) || casualties.workers.contains(worker);
  });
}

WaitingReason NoWorker(const Job& job, const JobTable& jobs, const WorkerTable& workers) {
  const Casualties casualties = FindCasualties(job, jobs, workers);
  std::string reason = "no worker is connected";
  if (casualties.deaths > 0) {
    absl::StrAppend(&reason, "; ", casualties.deaths, " died while running ", Names(casualties.tasks), ": ",
                    Names(casualties.workers));
  }
  return {AllDied(job, casualties) ? v1::Waiting::WORKERS_DIED : v1::Waiting::NO_WORKER, std::move(reason)};
}

// The most urgent ready task; of those, one that may run now.
const Task& NextTask(const Job& job, absl::Duration now) {
  for (const auto& [height, index] : job.graph.ready()) {
    if (job.tasks[index].run_after <= now && !job.tasks[index].awaits_lookup) return job.tasks[index];
  }
  return job.tasks[job.graph.ready().begin()->second];
}

// What keeps the workers that are there from a ready task.
WaitingReason ExplainReady(const Job& job, const std::vector<const WorkerFacts*>& usable,
                           absl::Duration now) {
  const Task& task = NextTask(job, now);
  if (task.run_after > now) {
    return {v1::Waiting::NEXT_ATTEMPT,
            absl::StrCat("waits before the next attempt of ", task.label(),
                         task.record.error().message().empty() ? "" : ", which ended with: ",
                         task.record.error().message())};
  }
  if (task.awaits_lookup) {
    return {v1::Waiting::COORDINATOR, "the coordinator looks for results of equal tasks"};
  }
  const std::string& wanted = job.record.determinism_class();
  int of_class = 0;
  int64_t largest = 0;
  for (const WorkerFacts* worker : usable) {
    if (!wanted.empty() && worker->determinism_class != wanted) continue;
    ++of_class;
    largest = std::max(largest, worker->memory_bytes);
  }
  if (of_class == 0) {
    return {v1::Waiting::NO_CAPABLE_WORKER,
            absl::StrCat("none of ", usable.size(), " workers is of determinism class ", wanted,
                         ", to which the first task bound this job")};
  }
  if (largest < task.definition().memory_bytes) {
    return {v1::Waiting::NO_CAPABLE_WORKER,
            absl::StrCat("task ", task.label(), " needs ", task.definition().memory_bytes,
                         " bytes of memory, the largest worker has ", largest)};
  }
  return {v1::Waiting::WORKERS_BUSY, "all workers are busy"};
}

WaitingReason WaitsForSilent(const Job& job) {
  std::set<std::string> silent;
  for (const int index : job.graph.running()) silent.insert(job.tasks[index].record.worker());
  return {v1::Waiting::WORKERS_SILENT,
          absl::StrCat("not heard of: ", Names(silent),
                       "; what runs there is given to others when the lease ends")};
}

WaitingReason CoordinatorStep(const Job& job) {
  return {v1::Waiting::COORDINATOR, job.record.expanded() ? "the coordinator publishes the artifact"
                                                          : "the coordinator expands the task graph"};
}

}  // namespace

WaitingReason ExplainWaiting(const Job& job, const JobTable& jobs, const WorkerTable& workers,
                             const SchedulingLimits& limits, absl::Duration now) {
  for (const int index : job.graph.running()) {
    const auto worker = workers.find(job.tasks[index].record.worker());
    if (worker != workers.end() && !IsSuspect(worker->second, limits, now)) return {};
  }
  if (job.graph.ready().empty() && job.graph.running().empty()) return CoordinatorStep(job);
  std::vector<const WorkerFacts*> usable;
  bool any_connected = false;
  for (const auto& [id, worker] : workers) {
    any_connected |= worker.connected && !IsSuspect(worker, limits, now);
    if (!worker.draining && !IsSuspect(worker, limits, now)) usable.push_back(&worker);
  }
  if (!any_connected) return NoWorker(job, jobs, workers);
  if (job.graph.ready().empty()) return WaitsForSilent(job);
  if (usable.empty()) return {v1::Waiting::NO_WORKER, "every worker that is connected drains"};
  return ExplainReady(job, usable, now);
}

bool IsUnschedulable(v1::Waiting::Cause cause) {
  return cause == v1::Waiting::NO_WORKER || cause == v1::Waiting::WORKERS_DIED ||
         cause == v1::Waiting::NO_CAPABLE_WORKER;
}

}  // namespace quantmoe
