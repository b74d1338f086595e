// A spec as JSON, from the entries of its options: the canonical document that is stored, hashed and
// published, and the parameters of tasks. Objects are written with sorted keys and without spaces, and
// numbers round-trip exactly, so equal specs have equal text.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <nlohmann/json_fwd.hpp>

#include "plan/options/job_spec.h"

namespace quantmoe {

nlohmann::json DigestJson(const Digest& digest);
Digest DigestFromJson(const nlohmann::json& json);  // throws std::exception

// Every option that is kept; the model is `model_uri`.
nlohmann::json JobSpecJson(const JobSpec& spec);
std::string JobSpecToJson(const JobSpec& spec);
// INVALID_ARGUMENT names the key that is unknown or has a wrong value. Keys that are absent or null keep the
// default.
absl::StatusOr<JobSpec> JobSpecFromJson(absl::string_view json);

// Adds the options that `tasks` (bits of TaskSet) get as parameters.
void AddTaskParams(const JobSpec& spec, unsigned tasks, nlohmann::json& params);
// Sets these options of `spec`. INVALID_ARGUMENT names a parameter that is missing or has a wrong value.
absl::Status ReadTaskParams(const nlohmann::json& params, unsigned tasks, JobSpec& spec);

}  // namespace quantmoe
