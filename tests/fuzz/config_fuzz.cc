// config.json of a model: a spec or an error, and what follows from a spec can be listed.
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "plan/model/model_spec.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<quantmoe::ModelSpec> spec = quantmoe::ParseModelConfig(quantmoe::TextOf(data, size));
  // The list grows with layers and experts as the model does.
  if (spec.ok() && spec->num_layers() <= 16) (void)quantmoe::ListLinears(*spec);
  return 0;
}
