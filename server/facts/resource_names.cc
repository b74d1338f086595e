#include "server/facts/resource_names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"

namespace quantmoe {

std::string JobName(absl::string_view job) { return absl::StrCat("jobs/", job); }
std::string TaskName(absl::string_view job, absl::string_view task) {
  return absl::StrCat("jobs/", job, "/tasks/", task);
}
std::string ArtifactName(absl::string_view job) { return absl::StrCat("artifacts/", job); }

bool IsJobId(absl::string_view id) {
  if (id.empty() || id.size() > 63 || !absl::ascii_islower(id.front()) || id.back() == '-') return false;
  return std::all_of(id.begin(), id.end(),
                     [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; });
}

absl::StatusOr<std::string> ParseJobName(absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, "jobs/") || !IsJobId(id)) return JobNotFound(name);
  return std::string(id);
}

absl::StatusOr<std::string> ParseArtifactName(absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, "artifacts/") || !IsJobId(id)) return ArtifactNotFound(name);
  return std::string(id);
}

std::optional<TaskRef> ParseTaskName(absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() != 4 || parts[0] != "jobs" || parts[2] != "tasks") return std::nullopt;
  return TaskRef{parts[1], parts[3]};
}

absl::Status JobNotFound(absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", absl::StrCat("there is no job ", name),
                   {{"name", std::string(name)}});
}

absl::Status ArtifactNotFound(absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, "ARTIFACT_NOT_FOUND",
                   absl::StrCat("there is no artifact ", name), {{"name", std::string(name)}});
}

}  // namespace quantmoe
