// The main function of tests that compute. Before anything else it chooses instructions and threads as the
// programs do, because the libraries ask once; a product in a mode that no program uses would prove nothing.
//
// QUANTMOE_INSTRUCTION_SET chooses as for the programs. --instruction-set=NAME wins over it, and skips all
// tests where the machine lacks the set.
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "quant/device/instruction_set.h"
#include "quant/tasks/run_task.h"

namespace quantmoe {
namespace {

// Not while tests are listed.
class TellInstructionSet : public ::testing::Environment {
  void SetUp() override {
    std::cout << "instruction set: " << InstructionSetName(CurrentInstructionSet()) << "; this machine has:";
    for (const InstructionSet set : AvailableInstructionSets()) std::cout << " " << InstructionSetName(set);
    std::cout << std::endl;
  }
};

int Main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  const char* variable = std::getenv("QUANTMOE_INSTRUCTION_SET");
  std::string choice = variable == nullptr || *variable == '\0' ? "auto" : variable;
  absl::string_view flag = argc == 2 ? argv[1] : "";
  const bool optional = absl::ConsumePrefix(&flag, "--instruction-set=");
  if (optional) choice = std::string(flag);
  const absl::Status chosen = ChooseInstructionSet(choice);
  if (optional && absl::IsFailedPrecondition(chosen)) {
    std::cout << "[  SKIPPED ] this machine lacks " << choice << "\n";
    return 0;
  }
  if (!chosen.ok()) {
    std::cerr << chosen << "\n";
    return 2;
  }
  SetComputeThreads(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  ::testing::AddGlobalTestEnvironment(new TellInstructionSet);
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace quantmoe

int main(int argc, char** argv) { return quantmoe::Main(argc, argv); }
