#include "base/crash_point.h"

#include <cstdlib>

#include "gtest/gtest.h"

namespace quantmoe {
namespace {

TEST(CrashPointDeathTest, TheNthPassageEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        ::setenv("QUANTMOE_CRASH_AT", "before-complete:2", 1);
        CrashPoint("before-complete");
        CrashPoint("elsewhere");
        std::fputs("first passage survived\n", stderr);
        CrashPoint("before-complete");
      },
      testing::ExitedWithCode(137), "first passage survived");
}

TEST(CrashPointDeathTest, NothingHappensUnlessAsked) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        ::unsetenv("QUANTMOE_CRASH_AT");
        CrashPoint("before-complete");
        CrashPoint("");
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace quantmoe
