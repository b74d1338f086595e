#include "quant/device/instruction_set.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/Context.h>
#include <ATen/Version.h>

#include "quant/device/compute_device.h"
#include "quant/gptq/vector_kernels.h"
#include "quant/tasks/run_task.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Brings back the choice of the program, so that the tests after it run as they should.
class InstructionSetTest : public ::testing::Test {
 protected:
  ~InstructionSetTest() override { ChooseInstructionSet(InstructionSetName(before_)).IgnoreError(); }
  const InstructionSet before_ = CurrentInstructionSet();
};

TEST_F(InstructionSetTest, OtherTextsAreRefused) {
  for (const char* text : {"", "sse2", "AVX2", "avx-512"}) {
    const absl::Status status = ChooseInstructionSet(text);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_EQ(GetErrorInfo(status).violations.at(0).field, "--instruction-set");
  }
  EXPECT_EQ(CurrentInstructionSet(), before_);
}

TEST_F(InstructionSetTest, OnlyWhatTheMachineHasCanBeChosen) {
  const std::vector<InstructionSet> available = AvailableInstructionSets();
  for (const InstructionSet set :
       {InstructionSet::kBaseline, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    const absl::Status status = ChooseInstructionSet(InstructionSetName(set));
    if (set <= available.back()) {
      EXPECT_OK(status);
      EXPECT_EQ(CurrentInstructionSet(), set);
    } else {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has only baseline")));
      EXPECT_THAT(status, HasReason("INSTRUCTION_SET_UNAVAILABLE"));
    }
  }
  EXPECT_OK(ChooseInstructionSet("auto"));
  EXPECT_EQ(CurrentInstructionSet(), available.back());
}

TEST_F(InstructionSetTest, AChoiceDecidesOurLoopsAndTheClass) {
  for (const InstructionSet set : AvailableInstructionSets()) {
    ASSERT_OK(ChooseInstructionSet(InstructionSetName(set)));
    EXPECT_EQ(&Kernels(), &KernelsOf(set));
    EXPECT_THAT(DeterminismClass(ComputeDevice{}), HasSubstr(std::string("cpu-") + InstructionSetName(set)));
  }
}

// ATen asks once, so it must have found what this program was started with, whatever was in its environment.
TEST_F(InstructionSetTest, AtenComputesWithTheChosenInstructions) {
  const std::string wanted = before_ == InstructionSet::kBaseline ? "DEFAULT"
                             : before_ == InstructionSet::kAvx2   ? "AVX2"
                                                                  : "AVX512";
  EXPECT_EQ(at::get_cpu_capability(), wanted);
}

TEST_F(InstructionSetTest, TheClassNamesAVendorWhosePathsDiffer) {
  const std::string cpu = CpuDeterminism();
  EXPECT_THAT(cpu, StartsWith(InstructionSetName(before_)));
  EXPECT_EQ(cpu == InstructionSetName(before_), __builtin_cpu_is("intel") != 0);
}

}  // namespace
}  // namespace quantmoe
