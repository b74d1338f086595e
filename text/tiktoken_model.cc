#include "text/tiktoken_model.h"

#include <algorithm>
#include <array>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "base/status_macros.h"
#include "text/byte_alphabet.h"

namespace quantmoe {
namespace {

constexpr size_t kLargestFile = size_t{64} << 20;
constexpr size_t kLongestToken = 512;  // every way to cut a token in two is looked up
constexpr int32_t kLargestRank = 1 << 26;

struct TiktokenFamily {
  const char* tokenizer_class;
  std::array<const char*, 2> modules;  // whose class it is
  const char* pattern;
  int reserved;  // special tokens behind the ranks; those without a name are <|reserved_token_ID|>
  const char* bos;
  const char* eos;
  TextCuts cuts;
};

// Kimi-K2 and Moonlight. tiktoken's expressions are those of Rust's fancy-regex; what this one uses of them
// means the same in Oniguruma's dialect.
constexpr char kMoonshotPattern[] =
    R"([\p{Han}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr TiktokenFamily kFamilies[] = {
    {"TikTokenTokenizer",
     {"tokenization_kimi", "tokenization_moonshot"},
     kMoonshotPattern,
     /*reserved=*/258,
     "[BOS]",
     "[EOS]",
     {/*longest_text=*/400000, /*longest_run=*/25000}},
};

absl::StatusOr<const TiktokenFamily*> FindFamily(const TokenizerConfig& config) {
  for (const TiktokenFamily& family : kFamilies) {
    const bool module = config.tokenizer_module.empty() ||
                        std::find(family.modules.begin(), family.modules.end(), config.tokenizer_module) !=
                            family.modules.end();
    if (config.tokenizer_class == family.tokenizer_class && module) return &family;
  }
  std::string name = config.tokenizer_class.empty() ? "no tokenizer_class" : config.tokenizer_class;
  if (!config.tokenizer_module.empty()) name = config.tokenizer_module + "." + name;
  return UnsupportedTokenizer(kTiktokenFile, "tokenizer_config.json names " + name,
                              "and its pattern and special tokens are not known here (TikTokenTokenizer of "
                              "Kimi-K2 and Moonlight is); make a "
                              "tokenizer.json with convert_tiktoken_to_fast of "
                              "transformers.integrations.tiktoken, and put it beside the model");
}

std::string InAlphabet(std::string_view bytes) {
  std::string token;
  for (const char c : bytes) AppendUtf8(kByteAlphabet[static_cast<unsigned char>(c)], token);
  return token;
}

absl::Status Invalid(int64_t line, const std::string& what) {
  return InvalidTokenizer(kTiktokenFile, absl::StrCat("line ", line, " ", what));
}

absl::StatusOr<std::vector<std::pair<std::string, int32_t>>> ReadRanks(std::string_view text) {
  std::vector<std::pair<std::string, int32_t>> ranks;
  absl::flat_hash_set<std::string> seen;
  int single_bytes = 0;
  int64_t number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    if (line.empty()) continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipWhitespace());
    std::string bytes;
    int32_t rank = 0;
    if (fields.size() != 2 || !absl::Base64Unescape(fields[0], &bytes) || bytes.empty())
      return Invalid(number, "is not the base64 of a token, a space and its rank");
    if (!absl::SimpleAtoi(fields[1], &rank) || rank < 0 || rank >= kLargestRank)
      return Invalid(number, absl::StrCat("has the rank ", absl::CHexEscape(fields[1].substr(0, 20))));
    if (bytes.size() > kLongestToken)
      return Invalid(number, absl::StrCat("has a token of ", bytes.size(), " bytes; at most ", kLongestToken,
                                          " are read"));
    if (!seen.insert(bytes).second) return Invalid(number, "has a token that is there twice");
    if (bytes.size() == 1) ++single_bytes;
    ranks.emplace_back(InAlphabet(bytes), rank);
  }
  if (single_bytes != 256)
    return InvalidTokenizer(kTiktokenFile,
                            absl::StrCat("has tokens for ", single_bytes, " of the 256 bytes"));
  return ranks;
}

// The ids behind the ranks, by the names of tokenizer_config.json.
absl::StatusOr<std::vector<AddedToken>> SpecialTokens(const TiktokenFamily& family,
                                                      const TokenizerConfig& config, int32_t first) {
  std::vector<AddedToken> tokens(family.reserved);
  for (int i = 0; i < family.reserved; ++i) {
    tokens[i].id = first + i;
    tokens[i].content = absl::StrCat("<|reserved_token_", first + i, "|>");
    tokens[i].normalized = false;
  }
  for (const AddedToken& named : config.added_tokens) {
    if (named.id < first || named.id >= first + family.reserved) {
      return InvalidTokenizer(
          kTokenizerConfigFile,
          absl::StrCat("added_tokens_decoder: '", named.content, "' has the id ", named.id, ", not between ",
                       first, " and ", first + family.reserved - 1, ", which follow the ranks of ",
                       kTiktokenFile));
    }
    tokens[named.id - first] = named;
    tokens[named.id - first].normalized = false;
  }
  absl::flat_hash_map<std::string, int32_t> ids;
  for (const AddedToken& token : tokens) {
    const auto [known, is_new] = ids.emplace(token.content, token.id);
    if (is_new) continue;
    return InvalidTokenizer(kTokenizerConfigFile,
                            absl::StrCat("added_tokens_decoder: '", token.content, "' has the ids ",
                                         known->second, " and ", token.id));
  }
  return tokens;
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadTiktokenModel(std::string_view text, TokenizerConfig& config) {
  ASSIGN_OR_RETURN(const TiktokenFamily* family, FindFamily(config));
  if (text.size() > kLargestFile)
    return InvalidTokenizer(kTiktokenFile,
                            absl::StrCat("has ", text.size(), " bytes; at most ", kLargestFile, " are read"));
  TokenizerParts parts;
  parts.file = kTiktokenFile;
  ASSIGN_OR_RETURN(parts.model.vocabulary, ReadRanks(text));
  ASSIGN_OR_RETURN(parts.added_tokens,
                   SpecialTokens(*family, config, static_cast<int32_t>(parts.model.vocabulary.size())));
  ASSIGN_OR_RETURN(Pattern pattern, Pattern::Regex(family->pattern));
  parts.pre_tokenizer.Add(SplitStep{std::move(pattern), SplitBehavior::kIsolated, /*invert=*/false});
  parts.pre_tokenizer.SetByteLevel();
  parts.decoder.Add(ByteLevelDecoding{});
  parts.model.byte_level = true;
  parts.model.ignore_merges = true;
  parts.model.merges_by_id = true;
  parts.cuts = family->cuts;
  if (config.bos_token.empty()) config.bos_token = family->bos;
  if (config.eos_token.empty()) config.eos_token = family->eos;
  return parts;
}

}  // namespace quantmoe
