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

TEST(ReportPageTest, OnlyFinishedJobsHaveALink) {
  const std::string page = RenderJobsPage({{"a", "<b>", "SUCCEEDED", true}, {"c", "", "RUNNING", false}});
  EXPECT_THAT(page, HasSubstr("<a href=\"/jobs/a/report\">&lt;b&gt;</a>"));
  EXPECT_THAT(page, Not(HasSubstr("/jobs/c/report")));
  EXPECT_THAT(page, HasSubstr("<td>c</td><td>RUNNING</td>"));
  EXPECT_THAT(RenderJobsPage({}), HasSubstr("none yet"));
}

}  // namespace
}  // namespace quantmoe
