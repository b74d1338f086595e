// The report of a job as one web page that needs no network.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

// The page for a report (JSON as in JobService.GetJobReport). Nothing in the report can leave its place in
// the page.
std::string RenderReportPage(absl::string_view report_json);

}  // namespace quantmoe
