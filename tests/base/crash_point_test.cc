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

TEST(CrashPoint, DoesNothingUnlessAsked) {
  CrashPoint("before-complete");
  SUCCEED();
}

}  // namespace
}  // namespace quantmoe
