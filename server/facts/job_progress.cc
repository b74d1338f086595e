#include "server/facts/job_progress.h"

#include <set>
#include <string>

#include "plan/graph/task_kind.h"

namespace quantmoe {

v1::Progress ProgressOf(const Job& job) {
  v1::Progress progress;
  for (const auto& [kind, counters] : job.stages) {
    v1::StageProgress& stage = *progress.add_stages();
    stage.set_stage(std::string(TaskKindName(kind)));
    stage.set_tasks_total(counters.total);
    stage.set_tasks_done(counters.done);
    stage.set_tasks_running(counters.running);
    stage.set_tasks_cached(counters.cached);
    stage.set_task_seconds(counters.seconds);
  }
  std::set<std::string> workers;
  for (int index : job.graph.running()) workers.insert(job.tasks[index].record.worker());
  progress.set_workers(static_cast<int>(workers.size()));
  return progress;
}

}  // namespace quantmoe
