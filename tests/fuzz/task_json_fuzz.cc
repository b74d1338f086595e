// What workers say about whole jobs: the summary of prepare and the state of a search; what is read is
// written and read again the same.
#include "plan/graph/task_graph.h"
#include "plan/job/plan_step.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view json = TextOf(data, size);
  if (const auto state = SearchStateFromJson(json); state.ok()) {
    const std::string once = SearchStateToJson(*state);
    const auto again = SearchStateFromJson(once);
    Require(again.ok() && SearchStateToJson(*again) == once, "a state that was read is written the same");
  }
  if (const auto summary = PrepareSummaryFromJson(json); summary.ok()) {
    const std::string once = PrepareSummaryToJson(*summary);
    const auto again = PrepareSummaryFromJson(once);
    Require(again.ok() && PrepareSummaryToJson(*again) == once,
            "a summary that was read is written the same");
  }
  return 0;
}
