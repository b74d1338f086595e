// The tokenizer of a model directory.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/model_directory.h"
#include "text/tokenizer.h"

namespace quantmoe {

// Whether OpenTokenizer reads a file of this name.
bool IsTokenizerFile(absl::string_view name);

// Reads tokenizer.json, or without it tiktoken.model, and tokenizer_config.json where it exists.
// INVALID_ARGUMENT MODEL_INVALID when both of the former are missing; errors of Tokenizer::FromFiles and
// FromTiktoken.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory);
// The same for a model whose embedding has `vocab` rows; errors of Tokenizer::CheckFits too.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory, int64_t vocab);

}  // namespace quantmoe
