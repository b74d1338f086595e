#include "server/job_reader.h"

#include <functional>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "server/job_view.h"
#include "server/page_token.h"

namespace quantmoe {
namespace {

constexpr int kPageSize = 50;
constexpr int kEventPageSize = 1000;
constexpr int kMaxPageSize = 1000;

// Newest first, from the job before number `cursor` (0: the newest). Gives the cursor of the next page, 0 at
// the end.
int64_t VisitNewestFirst(const JobTable& table, int64_t cursor, int size,
                         const std::function<bool(const Job&)>& visit) {
  const auto& numbers = table.by_number();
  auto it = cursor == 0 ? numbers.end() : numbers.lower_bound(cursor);
  int taken = 0;
  while (it != numbers.begin()) {
    if (taken == size) return it->first;
    --it;
    if (visit(*table.Find(it->second))) ++taken;
    if (taken == size && it != numbers.begin()) return it->first;
  }
  return 0;
}

absl::StatusOr<JobState> ParseStateFilter(absl::string_view filter) {
  absl::string_view name = filter;
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  if (filter.empty()) return state;
  if (absl::ConsumePrefix(&name, "state=") && v1::Job::State_Parse(std::string(name), &state)) return state;
  return InvalidFields({{"filter", absl::StrCat("must be empty or state=STATE: ", filter)}});
}

}  // namespace

absl::Status ListJobPage(const JobTable& table, const v1::ListJobsRequest& request,
                         v1::ListJobsResponse& response) {
  const std::string identity = absl::StrCat("ListJobs/", request.filter());
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const JobState state, ParseStateFilter(request.filter()));
  ASSIGN_OR_RETURN(const int64_t cursor, DecodePageToken(identity, request.page_token()));
  const int64_t next = VisitNewestFirst(table, cursor, size, [&](const Job& job) {
    if (state != v1::Job::STATE_UNSPECIFIED && job.record.state() != state) return false;
    *response.add_jobs() = ViewJob(job);
    return true;
  });
  if (next != 0) response.set_next_page_token(EncodePageToken(identity, next));
  return absl::OkStatus();
}

absl::Status ListArtifactPage(const JobTable& table, const v1::ListArtifactsRequest& request,
                              const std::string& artifacts_dir, v1::ListArtifactsResponse& response) {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const int64_t cursor, DecodePageToken("ListArtifacts", request.page_token()));
  const int64_t next = VisitNewestFirst(table, cursor, size, [&](const Job& job) {
    if (!job.record.has_artifact()) return false;
    *response.add_artifacts() = ViewArtifact(job, artifacts_dir);
    return true;
  });
  if (next != 0) response.set_next_page_token(EncodePageToken("ListArtifacts", next));
  return absl::OkStatus();
}

absl::Status ListTaskPage(const Job& job, const v1::ListTasksRequest& request,
                          v1::ListTasksResponse& response) {
  const std::string identity = absl::StrCat("ListTasks/", request.job());
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const int64_t cursor, DecodePageToken(identity, request.page_token()));
  const int64_t end = std::min<int64_t>(cursor + size, std::ssize(job.tasks));
  for (int64_t i = cursor; i < end; ++i) *response.add_tasks() = ViewTask(job, job.tasks[i]);
  if (end < std::ssize(job.tasks)) response.set_next_page_token(EncodePageToken(identity, end));
  return absl::OkStatus();
}

absl::Status ListEventPage(StateStore& store, const std::string& job, const v1::ListJobEventsRequest& request,
                           v1::ListJobEventsResponse& response) {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kEventPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const auto events, store.ReadEvents(job, request.after_seq(), size));
  for (const StoredEvent& event : events) {
    if (!response.add_events()->ParseFromString(event.payload)) {
      return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                       absl::StrCat("event ", event.seq, " of ", job));
    }
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
