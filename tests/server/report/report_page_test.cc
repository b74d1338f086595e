#include "server/report/report_page.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ReportPageTest, TheReportIsInThePageAndCannotLeaveItsPlace) {
  const std::string page = RenderReportPage(R"({"job":"jobs/</script><script>alert(1)//","linears":[]})");
  EXPECT_THAT(page, HasSubstr(R"({"job":"jobs/\u003c/script>\u003cscript>alert(1)//","linears":[]})"));
  EXPECT_THAT(page, Not(HasSubstr("@REPORT@")));
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
}

TEST(ReportPageTest, ThePageAsksTheNetworkForNothing) {
  const std::string page = RenderReportPage("{}");
  for (const char* fetch : {"src=", "@import", "fetch(", "href=\"http", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(fetch)));
  }
}

}  // namespace
}  // namespace quantmoe
