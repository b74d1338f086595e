#include "server/report/report_page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

#include "base/text.h"

// The assembler includes the page, as it is shipped.
asm(R"(
    .section .rodata
    .global quantmoe_report_page_begin
    .global quantmoe_report_page_end
quantmoe_report_page_begin:
    .incbin ")" QUANTMOE_REPORT_PAGE R"("
quantmoe_report_page_end:
    .previous
)");

extern "C" {
extern const char quantmoe_report_page_begin[];
extern const char quantmoe_report_page_end[];
}

namespace quantmoe {
namespace {

constexpr char kPlace[] = "@REPORT@";

}  // namespace

std::string RenderReportPage(absl::string_view report_json) {
  const absl::string_view page(quantmoe_report_page_begin,
                               static_cast<size_t>(quantmoe_report_page_end - quantmoe_report_page_begin));
  const size_t place = page.find(kPlace);
  // JSON inside a script element ends at "</script" even within a string; outside of strings it has no "<".
  return absl::StrCat(page.substr(0, place), absl::StrReplaceAll(report_json, {{"<", "\\u003c"}}),
                      page.substr(place + sizeof(kPlace) - 1));
}

std::string RenderJobsPage(const std::vector<JobLine>& jobs) {
  std::string rows;
  for (const JobLine& job : jobs) {
    const std::string title = EscapeHtml(job.title.empty() ? job.id : job.title);
    const std::string name =
        job.has_report ? absl::StrCat("<a href=\"/jobs/", EscapeHtml(job.id), "/report\">", title, "</a>")
                       : title;
    absl::StrAppend(&rows, "<tr><td>", name, "</td><td>", EscapeHtml(job.state), "</td></tr>\n");
  }
  return absl::StrCat(
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>quantmoe jobs</title><style>:root { "
      "color-scheme: "
      "light dark } body { font: 15px/1.6 system-ui, sans-serif; max-width: 50rem; margin: 1rem auto; "
      "padding: 0 "
      "1rem } td { padding: .2rem 1.5rem .2rem 0 }</style></head><body><h1>Jobs</h1>",
      jobs.empty() ? "<p>There are none yet.</p>" : absl::StrCat("<table>\n", rows, "</table>"),
      "</body></html>\n");
}

}  // namespace quantmoe
