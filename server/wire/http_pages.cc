#include "server/wire/http_pages.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/text.h"
#include "server/facts/resource_names.h"

namespace quantmoe {
namespace {

constexpr char kHtml[] = "text/html; charset=utf-8", kJson[] = "application/json";

HttpEndpoint::Response Show(const absl::StatusOr<std::string>& body, const char* type) {
  if (body.ok()) return {200, type, *body};
  const int status = absl::IsNotFound(body.status())             ? 404
                     : absl::IsFailedPrecondition(body.status()) ? 409
                                                                 : 503;
  return {.status = status, .body = absl::StrCat(PlainLines(body.status().message()), "\n")};
}

}  // namespace

HttpEndpoint::Response AnswerPage(const HttpPages& pages, const std::string& path) {
  if (path == "/") return Show(pages.jobs(), kHtml);
  absl::string_view id = path;
  if (absl::ConsumePrefix(&id, "/jobs/")) {
    if (absl::ConsumeSuffix(&id, "/report") && IsJobId(id)) return Show(pages.report(std::string(id)), kHtml);
    if (absl::ConsumeSuffix(&id, "/report.json") && IsJobId(id))
      return Show(pages.report_json(std::string(id)), kJson);
  }
  return {.status = 404, .body = "not found\n"};
}

}  // namespace quantmoe
