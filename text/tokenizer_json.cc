#include "text/tokenizer_json.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "text/components_json.h"
#include "text/json_field.h"

namespace quantmoe {
namespace {

using nlohmann::json;

constexpr int32_t kLargestId = 1 << 26;  // far beyond any vocabulary
constexpr int32_t kNoId = -1;

// A merge is a pair, or (in older files) one string with a space between the two.
std::optional<std::pair<std::string, std::string>> ReadMerge(const json& node) {
  if (node.is_array() && node.size() == 2 && node[0].is_string() && node[1].is_string())
    return std::make_pair(node[0].get<std::string>(), node[1].get<std::string>());
  if (!node.is_string()) return std::nullopt;
  const auto& text = node.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) return std::nullopt;
  return std::make_pair(text.substr(0, space), text.substr(space + 1));
}

absl::Status CheckModel(const JsonField& node) {
  const std::string type = node.StringOr("type", node.Has("merges") ? "BPE" : "");
  if (type != "BPE") return UnsupportedComponent("model." + (type.empty() ? "without a type" : type));
  if (node.Has("dropout") && node.At("dropout").Number() != 0) return UnsupportedComponent("model.dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!node.StringOr(key, "").empty()) return UnsupportedComponent(absl::StrCat("model.", key));
  }
  return absl::OkStatus();
}

// Paths are made only for what is wrong: there are hundreds of thousands of entries.
void ReadVocabulary(const JsonField& field, BpeOptions& options) {
  if (!field.json().is_object()) field.Fail("is not an object of tokens and ids");
  options.vocabulary.reserve(field.json().size());
  for (const auto& [token, id] : field.json().items()) {
    if (!id.is_number_integer() || id < 0 || id > kLargestId)
      field.Fail(absl::StrCat("gives '", token, "' the id ", id.dump()));
    options.vocabulary.emplace_back(token, id.get<int32_t>());
  }
}

void ReadMerges(const JsonField& field, BpeOptions& options) {
  if (!field.json().is_array()) field.Fail("is not a list");
  options.merges.reserve(field.json().size());
  for (const json& node : field.json()) {
    auto merge = ReadMerge(node);
    if (!merge)
      throw BadField{absl::StrCat(field.path(), "[", options.merges.size(), "] is ", node.dump(),
                                  ", not a pair of tokens")};
    options.merges.push_back(*std::move(merge));
  }
}

absl::StatusOr<BpeOptions> ReadModel(const JsonField& node, bool byte_level) {
  RETURN_IF_ERROR(CheckModel(node));
  BpeOptions options;
  options.unknown_token = node.StringOr("unk_token", "");
  options.byte_fallback = node.BoolOr("byte_fallback", false);
  options.fuse_unknown = node.BoolOr("fuse_unk", false);
  options.ignore_merges = node.BoolOr("ignore_merges", false);
  options.byte_level = byte_level;
  ReadVocabulary(node.At("vocab"), options);
  ReadMerges(node.At("merges"), options);
  return options;
}

AddedToken ReadAddedToken(const JsonField& node, int32_t id) {
  AddedToken token;
  token.id = id;
  token.content = node.At("content").String();
  token.single_word = node.BoolOr("single_word", false);
  token.lstrip = node.BoolOr("lstrip", false);
  token.rstrip = node.BoolOr("rstrip", false);
  token.special = node.BoolOr("special", false);
  token.normalized = node.BoolOr("normalized", !token.special);
  return token;
}

absl::StatusOr<TokenizerParts> ReadParts(const JsonField& root) {
  TokenizerParts parts;
  if (root.Has("normalizer")) RETURN_IF_ERROR(AddNormalizer(root.At("normalizer"), parts.normalizer));
  if (root.Has("pre_tokenizer"))
    RETURN_IF_ERROR(AddPreTokenizer(root.At("pre_tokenizer"), parts.pre_tokenizer));
  if (root.Has("post_processor")) RETURN_IF_ERROR(AddPostProcessor(root.At("post_processor"), parts));
  if (root.Has("decoder")) {
    RETURN_IF_ERROR(AddDecoder(root.At("decoder"), parts.decoder));
  } else {
    parts.decoder.SetAbsent();
  }
  ASSIGN_OR_RETURN(parts.model, ReadModel(root.At("model"), parts.pre_tokenizer.byte_level()));
  if (root.Has("added_tokens")) {
    for (const JsonField& node : root.At("added_tokens").Items())
      parts.added_tokens.push_back(
          ReadAddedToken(node, static_cast<int32_t>(node.At("id").Integer(0, kLargestId))));
  }
  return parts;
}

// {"12": {"content": ...}}, in the order of the ids.
std::vector<AddedToken> ReadAddedTokensDecoder(const JsonField& field) {
  if (!field.json().is_object()) field.Fail("is not an object of ids and tokens");
  std::vector<AddedToken> tokens;
  for (const auto& [key, value] : field.json().items()) {
    const JsonField node = field.At(key.c_str());
    int32_t id = 0;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || id > kLargestId) node.Fail("has no id for a name");
    tokens.push_back(ReadAddedToken(node, id));
  }
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return tokens;
}

// "tokenization_kimi" of {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", null]}, which may stand
// behind the name of another repository and "--".
std::string ReadTokenizerModule(const JsonField& root) {
  if (!root.Has("auto_map") || !root.At("auto_map").Has("AutoTokenizer")) return "";
  const JsonField field = root.At("auto_map").At("AutoTokenizer");
  const json& node = field.json();
  const json& name = node.is_array() && !node.empty() ? node[0] : node;
  if (!name.is_string()) return "";
  std::string module = name.get<std::string>();
  if (const size_t repository = module.rfind("--"); repository != std::string::npos)
    module = module.substr(repository + 2);
  return module.substr(0, module.find('.'));
}

// A token in tokenizer_config.json is a string, an object with its content, or null.
std::string TokenText(const JsonField& value) {
  return value.json().is_object() ? value.At("content").String() : value.String();
}

std::string ReadToken(const JsonField& root, const char* key) {
  return root.Has(key) ? TokenText(root.At(key)) : "";
}

absl::StatusOr<TokenizerConfig> ReadConfig(const JsonField& root) {
  if (root.BoolOr("split_special_tokens", false)) {
    return UnsupportedTokenizer(kTokenizerConfigFile, "split_special_tokens",
                                "is true, which is not supported");
  }
  TokenizerConfig config;
  config.bos_token = ReadToken(root, "bos_token");
  config.eos_token = ReadToken(root, "eos_token");
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    config.specials.push_back(ReadToken(root, key));
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!root.Has(key) || !root.At(key).json().is_array()) continue;
    for (const JsonField& token : root.At(key).Items()) config.specials.push_back(TokenText(token));
  }
  if (root.Has("added_tokens_decoder"))
    config.added_tokens = ReadAddedTokensDecoder(root.At("added_tokens_decoder"));
  config.tokenizer_module = ReadTokenizerModule(root);
  config.tokenizer_class = root.StringOr("tokenizer_class", "");
  const std::string& type = config.tokenizer_class;
  config.sets_specials = type == "LlamaTokenizer" || type == "LlamaTokenizerFast";
  config.add_bos = config.sets_specials && root.BoolOr("add_bos_token", true);
  config.add_eos = config.sets_specials && root.BoolOr("add_eos_token", false);
  const double length = root.Has("model_max_length") ? root.At("model_max_length").Number() : 0;
  if (length >= 1 && length <= std::numeric_limits<int>::max()) config.max_length = static_cast<int>(length);
  return config;
}

template <typename Read>
auto ReadJson(const char* file, std::string_view text, Read read) -> absl::StatusOr<typename Read::Result> {
  const absl::StatusOr<json> document = ParseJson({text.data(), text.size()});
  if (!document.ok()) return InvalidTokenizer(file, std::string(document.status().message()));
  try {
    return read(JsonField(*document));
  } catch (const BadField& bad) {
    return InvalidTokenizer(file, bad.message);
  }
}

struct PartsReader {
  using Result = TokenizerParts;
  absl::StatusOr<Result> operator()(const JsonField& root) const { return ReadParts(root); }
};
struct ConfigReader {
  using Result = TokenizerConfig;
  absl::StatusOr<Result> operator()(const JsonField& root) const { return ReadConfig(root); }
};

}  // namespace

void NumberAddedTokens(const TokenizerConfig& config, TokenizerParts& parts) {
  std::vector<AddedToken> listed = std::move(parts.added_tokens);
  listed.insert(listed.end(), config.added_tokens.begin(), config.added_tokens.end());
  absl::flat_hash_map<std::string, int32_t> ids;
  for (const AddedToken& token : listed) ids.emplace(token.content, kNoId);
  const absl::flat_hash_map<std::string, int32_t> are_added = ids;
  for (const std::string& token : config.specials) ids.emplace(token, kNoId);
  for (const auto& [token, id] : parts.model.vocabulary) {
    if (const auto found = ids.find(token); found != ids.end()) found->second = id;
  }
  for (const std::string& token : config.specials) {
    const bool needs_row = token == config.bos_token || token == config.eos_token;
    if (are_added.contains(token) || (needs_row && ids.at(token) == kNoId)) continue;
    listed.push_back({.content = token, .normalized = false, .special = true});
  }
  absl::flat_hash_map<std::string, size_t> places;
  auto next = static_cast<int32_t>(parts.model.vocabulary.size());
  for (const AddedToken& token : listed) {
    if (token.content.empty()) continue;
    int32_t& id = ids.at(token.content);
    if (id == kNoId) id = next;
    next = std::max(next, id + 1);
    const auto [place, added] = places.try_emplace(token.content, parts.added_tokens.size());
    if (added) parts.added_tokens.emplace_back();
    parts.added_tokens[place->second] = token;
    parts.added_tokens[place->second].id = id;
  }
}

absl::StatusOr<TokenizerParts> ReadTokenizerJson(std::string_view text) {
  return ReadJson(kTokenizerFile, text, PartsReader());
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(std::string_view text) {
  if (text.empty()) return TokenizerConfig();
  return ReadJson(kTokenizerConfigFile, text, ConfigReader());
}

}  // namespace quantmoe
