// Resources of the API as text for people. Pure; every function returns whole lines.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include <google/protobuf/timestamp.pb.h>
#include <quantmoe/v1/artifacts.pb.h>
#include <quantmoe/v1/catalog.pb.h>
#include <quantmoe/v1/jobs.pb.h>
#include <quantmoe/v1/system.pb.h>

#include "client/text/format.h"

namespace quantmoe {

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
std::string StateName(v1::Job::State state);

Style StateStyle(v1::Job::State state);

// One line a job; columns that no job has anything to say in are left out. `now` gives their age.
std::string RenderJobs(const v1::ListJobsResponse& jobs, absl::Time now, const Palette& palette = {});
// What was asked, what it means with every default filled in, and how far it is.
std::string RenderJob(const v1::Job& job, const Palette& palette = {});
// That, the tasks that run or that something went wrong with, and the end of the event log.
std::string RenderDescription(const v1::Job& job, const v1::ListTasksResponse& tasks,
                              const v1::ListJobEventsResponse& last_events, const Palette& palette = {});
std::string RenderTasks(const v1::ListTasksResponse& tasks);
// One event without its time and without a line feed.
std::string EventLine(const v1::JobEvent& event);
std::string RenderEvents(const v1::ListJobEventsResponse& events);
std::string RenderEstimate(const v1::Estimate& estimate);
std::string RenderArtifacts(const v1::ListArtifactsResponse& artifacts);
std::string RenderArtifact(const v1::Artifact& artifact);
std::string RenderHeuristics(const v1::ListHeuristicsResponse& heuristics);
std::string RenderProfiles(const v1::ListProfilesResponse& profiles);
std::string RenderWorkers(const v1::ListWorkersResponse& workers);
std::string RenderCapabilities(const v1::Capabilities& capabilities);

}  // namespace quantmoe
