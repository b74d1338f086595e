// Resource names: `jobs/{job}`, `jobs/{job}/tasks/{label}`, `artifacts/{job}`.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/facts/job_table.h"

namespace quantmoe {

std::string JobName(absl::string_view job);
std::string TaskName(absl::string_view job, absl::string_view task);
std::string ArtifactName(absl::string_view job);

// [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool IsJobId(absl::string_view id);

// The job's id. NOT_FOUND JOB_NOT_FOUND when the name cannot be one.
absl::StatusOr<std::string> ParseJobName(absl::string_view name);
// NOT_FOUND ARTIFACT_NOT_FOUND when the name cannot be one.
absl::StatusOr<std::string> ParseArtifactName(absl::string_view name);
// Empty when the name cannot be a task's.
std::optional<TaskRef> ParseTaskName(absl::string_view name);

absl::Status JobNotFound(absl::string_view name);
absl::Status ArtifactNotFound(absl::string_view name);

}  // namespace quantmoe
