// The tokenizer of a model directory.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "quant/text/tokenizer.h"
#include "sources/model_directory.h"

namespace quantmoe {

// Reads tokenizer.json, or without it tiktoken.model, and tokenizer_config.json where it exists.
// INVALID_ARGUMENT MODEL_INVALID when both of the former are missing; errors of Tokenizer::FromFiles and
// FromTiktoken.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory);

}  // namespace quantmoe
