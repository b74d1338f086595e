// Reads the normalizer, pre_tokenizer, decoder and post_processor of a tokenizer.json. Functions throw
// BadField and return TOKENIZER_UNSUPPORTED, which names the component. Used by tokenizer_json.cc alone.
#pragma once

#include "absl/status/status.h"

#include "quant/text/json_field.h"
#include "quant/text/tokenizer_parts.h"

namespace quantmoe {

absl::Status UnsupportedComponent(const std::string& component, const std::string& why = "is not supported");

absl::Status AddNormalizer(const JsonField& node, Normalizer& normalizer);
absl::Status AddPreTokenizer(const JsonField& node, PreTokenizer& pre_tokenizer);
absl::Status AddDecoder(const JsonField& node, Decoder& decoder);
// To `prefix_ids` and `suffix_ids`: what it puts around one sequence.
absl::Status AddPostProcessor(const JsonField& node, TokenizerParts& parts);

}  // namespace quantmoe
