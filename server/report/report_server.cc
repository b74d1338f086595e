#include "server/report/report_server.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/timed_wait.h"
#include "server/facts/resource_names.h"
#include "server/report/job_report.h"
#include "server/report/report_page.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr size_t kMaxJobs = 500;

// What `question` answers on the commit loop. The answer outlives a caller that has given up.
template <typename T>
absl::StatusOr<T> AskLoop(Core& core, std::function<absl::StatusOr<T>()> question) {
  struct Answer {
    absl::Mutex mutex;
    TimedWait changed;
    std::optional<absl::StatusOr<T>> value ABSL_GUARDED_BY(mutex);
  };
  const auto answer = std::make_shared<Answer>();
  core.loop.Post([answer, question = std::move(question)] {
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

// Newest first.
absl::StatusOr<std::vector<JobLine>> ListJobLines(Core& core) {
  return AskLoop<std::vector<JobLine>>(core, [&core]() -> absl::StatusOr<std::vector<JobLine>> {
    loop_thread.AssertHeld();
    std::vector<std::pair<int64_t, JobLine>> dated;
    for (const auto& [id, job] : core.facts.table().jobs()) {
      const auto state = job.record.state();
      dated.push_back(
          {-job.record.create_us(),
           {id, job.record.display_name(), v1::Job::State_Name(state), state == v1::Job::SUCCEEDED}});
    }
    std::sort(dated.begin(), dated.end(), [](const auto& a, const auto& b) {
      return std::tie(a.first, a.second.id) < std::tie(b.first, b.second.id);
    });
    if (dated.size() > kMaxJobs) dated.resize(kMaxJobs);
    std::vector<JobLine> lines;
    for (auto& [date, line] : dated) lines.push_back(std::move(line));
    return lines;
  });
}

}  // namespace

absl::StatusOr<std::string> ShowJobs(Core& core) {
  ASSIGN_OR_RETURN(const std::vector<JobLine> jobs, ListJobLines(core));
  return RenderJobsPage(jobs);
}

absl::StatusOr<std::string> ShowReport(Core& core, const std::string& job_id) {
  ASSIGN_OR_RETURN(const std::string json, ReadReport(core, job_id));
  return RenderReportPage(json);
}

absl::StatusOr<std::string> ReadReport(Core& core, const std::string& job_id) {
  ASSIGN_OR_RETURN(const ReportFacts facts,
                   AskLoop<ReportFacts>(core, [&core, job_id]() -> absl::StatusOr<ReportFacts> {
                     loop_thread.AssertHeld();
                     const Job* job = core.facts.table().Find(job_id);
                     if (job == nullptr) return JobNotFound(JobName(job_id));
                     return GatherReportFacts(core.facts.table(), *job, core.artifacts_dir);
                   }));
  return BuildReport(facts, core.blobs());
}

}  // namespace quantmoe
