// The report of a job as one web page that needs no network, and the page that leads to it.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantmoe {

// The page for a report (JSON as in JobService.GetJobReport). Nothing in the report can leave its place in
// the page.
std::string RenderReportPage(absl::string_view report_json);

struct JobLine {
  std::string id;
  std::string title;
  std::string state;
  bool has_report = false;
};
// Links to the reports of jobs.
std::string RenderJobsPage(const std::vector<JobLine>& jobs);

}  // namespace quantmoe
