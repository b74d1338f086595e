#include "quant/text/tokenizer_json.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "quant/text/components_json.h"
#include "quant/text/json_field.h"

namespace quantmoe {
namespace {

using nlohmann::json;

constexpr int32_t kLargestId = 1 << 26;  // far beyond any vocabulary

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

AddedToken ReadAddedToken(const JsonField& node) {
  AddedToken token;
  token.id = static_cast<int32_t>(node.At("id").Integer(0, kLargestId));
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
      parts.added_tokens.push_back(ReadAddedToken(node));
  }
  return parts;
}

// A token in tokenizer_config.json is a string, an object with its content, or null.
std::string ReadToken(const JsonField& root, const char* key) {
  if (!root.Has(key)) return "";
  const JsonField value = root.At(key);
  return value.json().is_object() ? value.At("content").String() : value.String();
}

TokenizerConfig ReadConfig(const JsonField& root) {
  TokenizerConfig config;
  config.bos_token = ReadToken(root, "bos_token");
  config.eos_token = ReadToken(root, "eos_token");
  const std::string type = root.StringOr("tokenizer_class", "");
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

absl::Status InvalidTokenizer(const std::string& file, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_INVALID", absl::StrCat(file, ": ", what),
                   {{"file", file}});
}

absl::Status UnsupportedTokenizer(const std::string& file, const std::string& component,
                                  const std::string& why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_UNSUPPORTED",
                   absl::StrCat(file, ": ", component, " ", why), {{"file", file}, {"component", component}});
}

absl::StatusOr<TokenizerParts> ReadTokenizerJson(std::string_view text) {
  return ReadJson(kTokenizerFile, text, PartsReader());
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(std::string_view text) {
  if (text.empty()) return TokenizerConfig();
  return ReadJson(kTokenizerConfigFile, text, ConfigReader());
}

}  // namespace quantmoe
