// A job's spec as the server stores it: what is read is written and read again the same.
#include "plan/options/spec_json.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::StatusOr<JobSpec> spec = JobSpecFromJson(TextOf(data, size));
  if (!spec.ok()) return 0;
  const std::string once = JobSpecToJson(*spec);
  const absl::StatusOr<JobSpec> again = JobSpecFromJson(once);
  Require(again.ok() && JobSpecToJson(*again) == once, "a spec that was read is written the same");
  return 0;
}
