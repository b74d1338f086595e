// The documents of solve and forward tasks: tables of distortion and counts of routing.
#include "plan/allocate/distortion_table.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view json = TextOf(data, size);
  (void)PartTableFromJson(json);
  (void)RoutingCountsFromJson(json);
  (void)DistortionTableFromJson(json);
  return 0;
}
