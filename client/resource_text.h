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

namespace quantmoe {

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
std::string StateName(v1::Job::State state);
// "3.00 bits" or "10.0 GiB".
std::string BudgetText(const v1::BitBudget& budget);

std::string RenderJobs(const v1::ListJobsResponse& jobs);
std::string RenderJob(const v1::Job& job);
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

// Any JSON document as indented "key: value" lines, lists of flat objects as tables.
std::string RenderJson(absl::string_view json);

}  // namespace quantmoe
