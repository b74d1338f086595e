#include "base/crash_report.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

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

void LetAnExceptionOut() {
  InstallCrashReport("crash_report_test");
  std::thread([] {
    const CrashContext context("publish");
    std::vector<int>(std::numeric_limits<size_t>::max() / sizeof(int) / 4).at(0) = 1;
  }).join();
}

TEST_F(CrashReportDeathTest, AnExceptionThatNobodyCatchesIsTheLastLine) {
  EXPECT_EXIT(LetAnExceptionOut(), KilledBySignal(SIGABRT),
              HasSubstr("error the process dies of an exception (the memory is exhausted) while running "
                        "publish; its stack is above\n"));
}

// noexcept: the frame of the test would catch it.
void LetAFilesystemErrorOut() noexcept {
  InstallCrashReport("crash_report_test");
  (void)std::filesystem::file_size("/no/such/file");
}

TEST_F(CrashReportDeathTest, AnExceptionNamesItsFile) {
  EXPECT_EXIT(LetAFilesystemErrorOut(), KilledBySignal(SIGABRT),
              HasSubstr("dies of an exception (/no/such/file: No such file or directory); its stack"));
}

void ThrowANumber() { throw 7; }

void LetANumberOut() noexcept {
  InstallCrashReport("crash_report_test");
  ThrowANumber();
}

TEST_F(CrashReportDeathTest, AnExceptionOfAnyTypeIsReported) {
  EXPECT_EXIT(LetANumberOut(), KilledBySignal(SIGABRT), HasSubstr("an exception (of an unknown type)"));
}

void IgnoreSigterm() {
  signal(SIGTERM, SIG_IGN);
  InstallCrashReport("crash_report_test");
  raise(SIGTERM);
  _exit(7);
}

void WritePastTheLimitOfFiles() {
  InstallCrashReport("crash_report_test");
  const rlimit none{0, 0};
  std::FILE* file = std::tmpfile();
  if (file == nullptr || setrlimit(RLIMIT_FSIZE, &none) != 0) _exit(1);
  _exit(::write(fileno(file), "x", 1) < 0 && errno == EFBIG ? 7 : 2);
}

TEST_F(CrashReportDeathTest, AWriteThatALimitForbidsFailsAndEndsNothing) {
  EXPECT_EXIT(WritePastTheLimitOfFiles(), testing::ExitedWithCode(7), "");
}

TEST_F(CrashReportDeathTest, SigtermStaysAsItIs) {
  EXPECT_EXIT(IgnoreSigterm(), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace quantmoe
