// quantization_config of a quantized checkpoint: the width of every module, or an error, in bounded work.
#include "base/json.h"
#include "storage/declared_widths.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::StatusOr<nlohmann::ordered_json> config = ParseOrderedJson(TextOf(data, size), kSmallJson);
  if (!config.ok()) return 0;
  for (const auto& widths :
       {DeclaredWidths::FromGptq(*config), DeclaredWidths::FromCompressedTensors(*config)}) {
    if (!widths.ok()) continue;
    (void)widths->Of("model.layers.0.mlp.experts.0.gate_proj");
    (void)widths->Of("lm_head");
  }
  return 0;
}
