// Reads the normalizer, pre_tokenizer, decoder and post_processor of a tokenizer.json. All of them throw
// BadField for a field that is missing or has another type, and return INVALID_ARGUMENT TOKENIZER_UNSUPPORTED
// {file, component} for what there is no equal of. Used by tokenizer_json.cc alone.
#pragma once

#include "absl/status/status.h"

#include "text/json_field.h"
#include "text/tokenizer_parts.h"

namespace quantmoe {

// That error; `component` is a path, "decoder.Strip".
absl::Status UnsupportedComponent(const std::string& component, const std::string& why = "is not supported");

// Add the steps of `node`, of sequences those of their members. Errors as above.
absl::Status AddNormalizer(const JsonField& node, Normalizer& normalizer);
absl::Status AddPreTokenizer(const JsonField& node, PreTokenizer& pre_tokenizer);
absl::Status AddDecoder(const JsonField& node, Decoder& decoder);
// To `prefix_ids` and `suffix_ids`: what it puts around one sequence.
absl::Status AddPostProcessor(const JsonField& node, TokenizerParts& parts);

}  // namespace quantmoe
