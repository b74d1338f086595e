// The configuration of a GPTQ v1 checkpoint: one base width and ordered `dynamic` rules for what differs from
// it.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"

namespace quantmoe {

// The content of quantize_config.json. Linears that fused loaders join share one rule that matches both
// spellings, where they agree; all others get an anchored rule of their own. `damp` and the other options go
// to `meta`. `kept` are the tensors that are not quantized: their layers past the model's last are exempted.
nlohmann::ordered_json GptqConfig(const BitPlan& plan, const ModelSpec& spec,
                                  const std::vector<TensorInfo>& kept, const nlohmann::json& gptq_spec,
                                  const std::string& version);

// config.json of the artifact: the source's, with the same dict as `quantization_config`.
std::string QuantizedModelConfig(const std::string& source_config, const nlohmann::ordered_json& gptq_config);

}  // namespace quantmoe
