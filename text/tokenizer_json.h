// Reads tokenizer.json and tokenizer_config.json into the parts of a Tokenizer. Used by tokenizer.cc alone.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

#include "text/tokenizer_parts.h"

namespace quantmoe {

// The reference library ignores the ids of added tokens: one that the vocabulary has keeps that id, any other
// gets the next one behind the vocabulary's size and the tokens before it. First come those of
// tokenizer.json, then those of added_tokens_decoder, whose flags win, then special tokens that are neither;
// a BOS or EOS without an id gets none.
void NumberAddedTokens(const TokenizerConfig& config, TokenizerParts& parts);

// INVALID_ARGUMENT: TOKENIZER_UNSUPPORTED names the component that is not known; TOKENIZER_INVALID what is
// damaged.
absl::StatusOr<TokenizerParts> ReadTokenizerJson(std::string_view text);
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(std::string_view text);

}  // namespace quantmoe
