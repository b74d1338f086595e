// Reads tokenizer.json and tokenizer_config.json into the parts of a Tokenizer. Used by tokenizer.cc alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "quant/text/added_tokens.h"
#include "quant/text/bpe.h"
#include "quant/text/decoder.h"
#include "quant/text/normalizer.h"
#include "quant/text/pre_tokenizer.h"
#include "quant/text/text_cuts.h"

namespace quantmoe {

inline constexpr char kTokenizerFile[] = "tokenizer.json";
inline constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";

struct TokenizerParts {
  std::string file = kTokenizerFile;  // that they were read from
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeOptions model;
  std::vector<AddedToken> added_tokens;
  Decoder decoder;
  std::vector<int32_t> prefix_ids;  // what the post-processor puts before and behind one sequence
  std::vector<int32_t> suffix_ids;
  TextCuts cuts;
};

// What tokenizer_config.json says; defaults for an empty text.
struct TokenizerConfig {
  std::string tokenizer_class;           // empty: not said
  std::string tokenizer_module;          // Python module of the class, from auto_map; empty: not said
  std::vector<AddedToken> added_tokens;  // of added_tokens_decoder, by id
  std::vector<std::string> specials;     // bos_token, eos_token, ...; some empty
  std::string bos_token;                 // empty: none
  std::string eos_token;
  bool sets_specials = false;  // a Llama class: add_bos and add_eos replace the post-processor
  bool add_bos = false;
  bool add_eos = false;
  std::optional<int> max_length;  // model_max_length; none when it means "no limit"
};

// The reference library ignores the ids of added tokens: one that the vocabulary has keeps that id, any other
// gets the next one behind the vocabulary's size and the tokens before it. First come those of
// tokenizer.json, then those of added_tokens_decoder, whose flags win, then special tokens that are neither;
// a BOS or EOS without an id gets none.
void NumberAddedTokens(const TokenizerConfig& config, TokenizerParts& parts);

// TOKENIZER_UNSUPPORTED names the component that is not known; TOKENIZER_INVALID what is damaged.
absl::StatusOr<TokenizerParts> ReadTokenizerJson(std::string_view text);
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(std::string_view text);

// Errors of both files and of what is built from them.
absl::Status InvalidTokenizer(const std::string& file, const std::string& what);
absl::Status UnsupportedTokenizer(const std::string& file, const std::string& component,
                                  const std::string& why);

}  // namespace quantmoe
