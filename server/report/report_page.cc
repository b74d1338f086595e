#include "server/report/report_page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

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

}  // namespace quantmoe
