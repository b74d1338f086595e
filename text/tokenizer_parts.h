// What a tokenizer is built from, whichever file it was read from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/text_cuts.h"

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

// Errors of the files and of what is built from them: INVALID_ARGUMENT TOKENIZER_INVALID {file} and
// INVALID_ARGUMENT TOKENIZER_UNSUPPORTED {file, component}.
absl::Status InvalidTokenizer(const std::string& file, const std::string& what);
absl::Status UnsupportedTokenizer(const std::string& file, const std::string& component,
                                  const std::string& why);

}  // namespace quantmoe
