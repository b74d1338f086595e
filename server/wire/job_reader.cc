#include "server/wire/job_reader.h"

#include <functional>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "proto/job_state_names.h"
#include "server/facts/stored_records.h"
#include "server/report/job_view.h"
#include "server/wire/page_room.h"
#include "server/wire/page_token.h"

namespace quantmoe {
namespace {

constexpr int kEventPageSize = 1000;

// Newest first, from the job before number `cursor` (0: the newest), until `visit` has no room for one. Gives
// the cursor of the next page, 0 at the end.
int64_t VisitNewestFirst(const JobTable& table, int64_t cursor,
                         const std::function<bool(const Job&)>& visit) {
  const auto& numbers = table.by_number();
  auto it = cursor == 0 ? numbers.end() : numbers.lower_bound(cursor);
  while (it != numbers.begin()) {
    --it;
    if (!visit(*table.Find(it->second))) return it->first + 1;
  }
  return 0;
}

absl::StatusOr<JobState> ParseStateFilter(absl::string_view filter) {
  absl::string_view name = filter;
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  if (filter.empty()) return state;
  if (absl::ConsumePrefix(&name, "state=") && v1::Job::State_Parse(std::string(name), &state)) return state;
  return InvalidFields(
      {{"filter",
        absl::StrCat("'", filter, "' is unknown; it must be empty or state=STATE, where STATE is one of ",
                     JobStateNames())}});
}

}  // namespace

absl::Status ListJobPage(const JobTable& table, const v1::ListJobsRequest& request,
                         v1::ListJobsResponse& response) {
  const std::string identity = absl::StrCat("ListJobs/", request.filter());
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const JobState state, ParseStateFilter(request.filter()));
  ASSIGN_OR_RETURN(const int64_t cursor, DecodePageToken(identity, request.page_token()));
  PageRoom room(size);
  const int64_t next = VisitNewestFirst(table, cursor, [&](const Job& job) {
    if (state != v1::Job::STATE_UNSPECIFIED && job.record.state() != state) return true;
    if (room.full()) return false;
    v1::Job entry = ViewJob(job);
    if (!room.Take(entry)) return false;
    *response.add_jobs() = std::move(entry);
    return true;
  });
  if (next != 0) response.set_next_page_token(EncodePageToken(identity, next));
  return absl::OkStatus();
}

absl::Status ListArtifactPage(const JobTable& table, const v1::ListArtifactsRequest& request,
                              const std::string& artifacts_dir, v1::ListArtifactsResponse& response) {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const int64_t cursor, DecodePageToken("ListArtifacts", request.page_token()));
  PageRoom room(size);
  const int64_t next = VisitNewestFirst(table, cursor, [&](const Job& job) {
    if (!job.record.has_artifact()) return true;
    if (room.full()) return false;
    v1::Artifact entry = ViewArtifact(job, artifacts_dir);
    if (!room.Take(entry)) return false;
    *response.add_artifacts() = std::move(entry);
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
  PageRoom room(size);
  for (int64_t i = cursor; i < std::ssize(job.tasks); ++i) {
    v1::Task entry = ViewTask(job, job.tasks[i]);
    if (!room.Take(entry)) {
      response.set_next_page_token(EncodePageToken(identity, i));
      break;
    }
    *response.add_tasks() = std::move(entry);
  }
  return absl::OkStatus();
}

absl::Status ListEventPage(StateStore& store, const std::string& job, const v1::ListJobEventsRequest& request,
                           v1::ListJobEventsResponse& response) {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kEventPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const auto events, store.ReadEvents(job, request.after_seq(), size));
  PageRoom room(size);
  for (const StoredEvent& event : events) {
    v1::JobEvent entry = DecodeEvent(event);
    if (!room.Take(entry)) break;
    *response.add_events() = std::move(entry);
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
