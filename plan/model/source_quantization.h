// `quantization_config` of a source checkpoint: which compressed forms can be read as weights again.
#pragma once

#include "plan/model/config_reader.h"
#include "plan/model/model_spec.h"

namespace quantmoe {

// FP8 with a factor per block (DeepSeek-V3, Qwen3) or per tensor, and MXFP4 (GPT-OSS) are read; any other
// method is MODEL_UNSUPPORTED by name, and a missing one MODEL_INVALID. Which tensors are stored so is told
// by their dtypes.
void ReadSourceQuantization(ConfigReader& config, StorageSpec& storage);

}  // namespace quantmoe
