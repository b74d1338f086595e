// Job files: the fields of the message JobSpec (proto/quantmoe/v1/types.proto) by their names, in YAML or
// JSON, and beside them `display_name` and `labels` of the job. Files and folders in them are relative to the
// job file, and to the current folder where it comes out of a pipe. docs/jobs has examples.
#pragma once

#include <string>
#include <vector>

#include "base/error_info.h"
#include "cli/spec_input.h"

namespace quantmoe::cli {

// Sets the fields that the file has; "-" is standard input, pipes are read too. Violations name file, line
// and column, and for an unknown field the nearest known one.
void ReadJobFile(const std::string& path, SpecInput& input, std::vector<FieldViolation>& violations);

// A job file that says the same: the title and the given fields of `input`, as YAML.
std::string JobFileText(const SpecInput& input);

// A path without a scheme as an absolute one below `folder` (empty: the current one); URIs as they are.
std::string AbsolutePath(const std::string& path, const std::string& folder);

}  // namespace quantmoe::cli
