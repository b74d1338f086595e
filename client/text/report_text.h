// The report of a finished job for a terminal.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct ReportOptions {
  bool linears = false;  // also one row per linear
};

// `json` is JobReport.json. Parts that are missing or of another type are left out; DATA_LOSS when it is no
// JSON object.
absl::StatusOr<std::string> RenderReport(absl::string_view json, const ReportOptions& options);

}  // namespace quantmoe
