// quantmoe_plan.json: what is read is written and read again the same.
#include "plan/allocate/bit_plan.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::StatusOr<BitPlan> plan = BitPlanFromJson(TextOf(data, size));
  if (!plan.ok()) return 0;
  const std::string once = BitPlanToJson(*plan);
  const absl::StatusOr<BitPlan> again = BitPlanFromJson(once);
  Require(again.ok() && BitPlanToJson(*again) == once, "a plan that was read is written the same");
  return 0;
}
