// The paths of the HTTP endpoint that are pages for people: / (the jobs), /jobs/<id>/report (a page) and
// /jobs/<id>/report.json (what it shows).
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

#include "net/http_endpoint.h"

namespace quantmoe {

struct HttpPages {
  std::function<absl::StatusOr<std::string>()> jobs;
  // Called with the job's id.
  std::function<absl::StatusOr<std::string>(const std::string&)> report;
  std::function<absl::StatusOr<std::string>(const std::string&)> report_json;
};

// 404 for other paths and for NOT_FOUND, 409 for FAILED_PRECONDITION, 503 for every other error.
HttpEndpoint::Response AnswerPage(const HttpPages& pages, const std::string& path);

}  // namespace quantmoe
