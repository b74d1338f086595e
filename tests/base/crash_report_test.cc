#include "base/crash_report.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::KilledBySignal;
using testing::Not;

// Everything runs in a child that dies.
class CrashReportDeathTest : public testing::Test {
 protected:
  CrashReportDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void CrashInATask() {
  InstallCrashReport("crash_report_test");
  const CrashContext context("jobs/a/tasks/solve-l0-p0");
  raise(SIGSEGV);
}

TEST_F(CrashReportDeathTest, TheLastLineNamesSignalAndTask) {
  EXPECT_EXIT(CrashInATask(), KilledBySignal(SIGSEGV),
              AllOf(HasSubstr("SIGSEGV received"),
                    HasSubstr("error the process dies of SIGSEGV while running jobs/a/tasks/solve-l0-p0; its "
                              "stack is above")));
}

void AbortAfterATask() {
  InstallCrashReport("crash_report_test");
  { const CrashContext context("jobs/a/tasks/solve-l0-p0"); }
  abort();
}

TEST_F(CrashReportDeathTest, AnIdleProcessNamesNoTask) {
  EXPECT_EXIT(AbortAfterATask(), KilledBySignal(SIGABRT), HasSubstr("dies of SIGABRT; its stack is above"));
}

void CrashInAParallelLoop() {
  InstallCrashReport("crash_report_test");
  const CrashContext context("forward-l1-s0");
  std::thread([] { raise(SIGFPE); }).join();
}

TEST_F(CrashReportDeathTest, AThreadOfAParallelLoopNamesWhatTheProcessRuns) {
  EXPECT_EXIT(CrashInAParallelLoop(), KilledBySignal(SIGFPE),
              HasSubstr("dies of SIGFPE while running forward-l1-s0"));
}

void CrashBesideAnother() {
  InstallCrashReport("crash_report_test");
  const CrashContext context("other");
  std::thread([] {
    const CrashContext own("mine");
    raise(SIGBUS);
  }).join();
}

TEST_F(CrashReportDeathTest, AThreadThatHasATaskNamesItsOwn) {
  EXPECT_EXIT(CrashBesideAnother(), KilledBySignal(SIGBUS),
              AllOf(HasSubstr("while running mine;"), Not(HasSubstr("other"))));
}

// Deeper than any stack, and every level has its own page.
int Recurse(int depth) {
  volatile char page[4096];
  page[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : Recurse(depth - 1) + page[0];
}

void OverflowAThread() {
  InstallCrashReport("crash_report_test");
  std::thread([] {
    ReportStackOverflowOfThisThread();
    const CrashContext context("deep");
    std::_Exit(Recurse(1 << 30));
  }).join();
}

TEST_F(CrashReportDeathTest, AnOverflowOfAThreadsStackIsReported) {
  EXPECT_EXIT(OverflowAThread(), KilledBySignal(SIGSEGV), HasSubstr("dies of SIGSEGV while running deep"));
}

void IgnoreSigterm() {
  signal(SIGTERM, SIG_IGN);
  InstallCrashReport("crash_report_test");
  raise(SIGTERM);
  _exit(7);
}

TEST_F(CrashReportDeathTest, SigtermStaysAsItIs) {
  EXPECT_EXIT(IgnoreSigterm(), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace quantmoe
