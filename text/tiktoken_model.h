// Reads tiktoken.model, the vocabulary of families that publish no tokenizer.json: one line a token, its
// bytes in base64 and its rank. What else a tokenizer needs (the pattern, the reserved tokens) stands only in
// the family's Python code, which is not run: a table here has it. Used by tokenizer.cc alone.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

#include "text/tokenizer_json.h"

namespace quantmoe {

inline constexpr char kTiktokenFile[] = "tiktoken.model";

// `config` names the family by its class, and the special tokens; the family's default names fill in the BOS
// and EOS that it leaves out. INVALID_ARGUMENT: TOKENIZER_UNSUPPORTED names a class without an entry in the
// table, and says how to convert such a model; TOKENIZER_INVALID what is damaged.
absl::StatusOr<TokenizerParts> ReadTiktokenModel(std::string_view text, TokenizerConfig& config);

}  // namespace quantmoe
