// The tokenizer of a model directory.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "quant/text/tokenizer.h"
#include "storage/model_directory.h"

namespace quantmoe {

// Reads tokenizer.json and, where it exists, tokenizer_config.json. INVALID_ARGUMENT MODEL_INVALID when the
// former is missing; errors of Tokenizer::FromFiles.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory);

}  // namespace quantmoe
