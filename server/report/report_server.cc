#include "server/report/report_server.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "base/timed_wait.h"
#include "base/version.h"
#include "proto/job_state.h"
#include "proto/spec_text.h"
#include "server/facts/job_progress.h"
#include "server/facts/resource_names.h"
#include "server/report/job_report.h"
#include "server/report/job_view.h"
#include "server/report/jobs_page.h"
#include "server/report/report_page.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr int64_t kMostEnded = 100;
constexpr size_t kMaxReasonBytes = 300;

// What `question` answers on the commit loop. The answer outlives a caller that has given up.
template <typename T>
absl::StatusOr<T> AskLoop(ServiceContext& context, std::function<absl::StatusOr<T>()> question) {
  struct Answer {
    absl::Mutex mutex;
    TimedWait changed;
    std::optional<absl::StatusOr<T>> value ABSL_GUARDED_BY(mutex);
  };
  const auto answer = std::make_shared<Answer>();
  context.loop.Post([answer, question = std::move(question)] {
    loop_thread.AssertHeld();
    absl::StatusOr<T> value = question();
    NotifyingLock lock(&answer->mutex, &answer->changed);
    answer->value = std::move(value);
  });
  absl::MutexLock lock(&answer->mutex);
  const auto answered = [&answer]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return answer->value.has_value(); };
  if (answer->changed.AwaitFor(answer->mutex, kPatience, answered)) return *std::move(answer->value);
  return MakeError(absl::StatusCode::kUnavailable, "OVERLOADED", "the coordinator did not answer in time");
}

std::string TextOr(const char* otherwise, std::string text) { return text.empty() ? otherwise : text; }

absl::Time TimeOf(int64_t us) { return us == 0 ? absl::InfinitePast() : absl::FromUnixMicros(us); }

JobRow RowOf(const Job& job) {
  const server::JobRecord& record = job.record;
  JobRow row{.id = record.id(),
             .title = record.display_name(),
             .state = record.state(),
             .reason = CutText(record.reason(), kMaxReasonBytes),
             .model = record.spec().model().uri(),
             .budget = TextOr("no limit", BudgetText(record.spec().budget())),
             .heuristic = TextOr("the default", HeuristicText(record.spec().heuristic())),
             .profile = record.spec().runtime_profile(),
             .expanded = record.expanded(),
             .original_perplexity = record.artifact().quality().original_perplexity(),
             .perplexity = record.artifact().quality().perplexity(),
             .created = absl::FromUnixMicros(record.create_us()),
             .started = TimeOf(record.start_us()),
             .finished = TimeOf(record.finish_us())};
  const v1::Progress progress = ProgressOf(job);
  std::vector<std::string> running;
  for (const v1::StageProgress& stage : progress.stages()) {
    row.tasks_done += stage.tasks_done();
    row.tasks_cached += stage.tasks_cached();
    row.tasks_total += stage.tasks_total();
    if (stage.tasks_running() > 0) running.push_back(stage.stage());
  }
  row.stages = absl::StrJoin(running, ", ");
  row.workers = progress.workers();
  return row;
}

WorkerRow RowOf(const WorkerFacts& worker, const JobTable& jobs, const SchedulingLimits& limits,
                absl::Duration now) {
  WorkerRow row{.id = worker.id,
                .state = ViewWorker(worker, jobs, limits, now).state(),
                .device = worker.device,
                .version = worker.version,
                .determinism_class = worker.determinism_class,
                .threads = worker.threads,
                .memory_bytes = worker.memory_bytes,
                .tasks_done = worker.tasks_done,
                .silent = now - worker.last_heard,
                .connected = worker.connect_time};
  for (const TaskRef& task : jobs.RunningOn(worker.id))
    row.tasks.push_back(absl::StrCat(task.job, "/", task.task));
  return row;
}

// Jobs that go on come first, then those that have ended; the newest of each at the top.
void AddJobs(const JobTable& table, JobsPage& page) {
  std::vector<const Job*> going_on, ended;
  for (auto entry = table.by_number().rbegin(); entry != table.by_number().rend(); ++entry) {
    const Job& job = *table.Find(entry->second);
    ++page.jobs_by_state.at(job.record.state());
    (IsTerminal(job.record.state()) ? ended : going_on).push_back(&job);
  }
  page.hidden_jobs = std::max<int64_t>(std::ssize(ended) - kMostEnded, 0);
  ended.resize(ended.size() - static_cast<size_t>(page.hidden_jobs));
  for (const std::vector<const Job*>& some : {going_on, ended}) {
    for (const Job* job : some) page.jobs.push_back(RowOf(*job));
  }
}

JobsPage GatherPage(ServiceContext& context, const SchedulingLimits& limits) ON_LOOP {
  const JobTable& table = context.facts.table();
  JobsPage page;
  page.version = kProgramVersion;
  page.term = context.term;
  page.data_dir = context.data_dir;
  page.notice = context.disk.Explain();
  page.recovering = context.sessions.recovering();
  page.now = context.clock.Now();
  AddJobs(table, page);
  for (const auto& [id, worker] : context.links.table()) {
    page.workers.push_back(RowOf(worker, table, limits, context.clock.Monotonic()));
  }
  return page;
}

}  // namespace

absl::StatusOr<std::string> ShowJobs(ServiceContext& context, const SchedulingLimits& limits) {
  ASSIGN_OR_RETURN(const JobsPage page,
                   AskLoop<JobsPage>(context, [&context, limits]() -> absl::StatusOr<JobsPage> {
                     loop_thread.AssertHeld();
                     return GatherPage(context, limits);
                   }));
  return RenderJobsPage(page);
}

absl::StatusOr<std::string> ShowReport(ServiceContext& context, const std::string& job_id) {
  ASSIGN_OR_RETURN(const std::string json, ReportOf(context, job_id));
  return RenderReportPage(json);
}

absl::StatusOr<std::string> ReportOf(ServiceContext& context, const std::string& job_id) {
  ASSIGN_OR_RETURN(const ReportFacts facts,
                   AskLoop<ReportFacts>(context, [&context, job_id]() -> absl::StatusOr<ReportFacts> {
                     loop_thread.AssertHeld();
                     const Job* job = context.facts.table().Find(job_id);
                     if (job == nullptr) return JobNotFound(JobName(job_id));
                     return GatherReportFacts(context.facts.table(), *job, context.artifacts_dir);
                   }));
  return BuildReport(facts, context.blobs());
}

}  // namespace quantmoe
