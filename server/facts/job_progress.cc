#include "server/facts/job_progress.h"

#include <set>
#include <string>

#include "plan/graph/task_kind.h"

namespace quantmoe {

v1::Progress ProgressOf(const Job& job) {
  v1::Progress progress;
  for (const TaskKind kind : AllTaskKinds()) {
    const std::string name(TaskKindName(kind));
    const auto counters = job.stages.find(name);
    if (counters == job.stages.end()) continue;
    v1::StageProgress& stage = *progress.add_stages();
    stage.set_stage(name);
    stage.set_tasks_total(counters->second.total);
    stage.set_tasks_done(counters->second.done);
    stage.set_tasks_running(counters->second.running);
    stage.set_tasks_cached(counters->second.cached);
    stage.set_task_seconds(counters->second.seconds);
  }
  std::set<std::string> workers;
  for (int index : job.graph.running()) workers.insert(job.tasks[index].record.worker());
  progress.set_workers(static_cast<int>(workers.size()));
  return progress;
}

}  // namespace quantmoe
