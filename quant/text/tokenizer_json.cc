#include "quant/text/tokenizer_json.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/text/unicode.h"

namespace quantmoe {
namespace {

using nlohmann::json;

absl::Status Unsupported(const std::string& component, const std::string& why = "is not supported") {
  return UnsupportedTokenizer(kTokenizerFile, component, why);
}

bool IsAbsent(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null();
}

template <typename T>
T ValueOr(const json& object, const char* key, T fallback) {
  return IsAbsent(object, key) ? fallback : object.at(key).get<T>();
}

char32_t OneCodePoint(const json& value) {
  const auto text = value.get<std::string>();
  if (CountCodePoints(text) != 1)
    throw json::other_error::create(600, "'" + text + "' is not one character", &value);
  size_t position = 0;
  return NextCodePoint(text, position);
}

// {"String": ...} or {"Regex": ...}
absl::StatusOr<Pattern> ReadPattern(const json& value, const std::string& component) {
  if (value.contains("String")) return Pattern::Literal(value.at("String").get<std::string>());
  auto pattern = Pattern::Regex(value.at("Regex").get<std::string>());
  if (!pattern.ok()) return Unsupported(component, std::string(pattern.status().message()));
  return pattern;
}

absl::Status AddNormalizer(const json& node, Normalizer& normalizer) {
  const auto type = node.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& child : node.at("normalizers")) RETURN_IF_ERROR(AddNormalizer(child, normalizer));
  } else if (type == "NFC") {
    normalizer.Add(UnicodeForm::kNfc);
  } else if (type == "NFD") {
    normalizer.Add(UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    normalizer.Add(UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    normalizer.Add(UnicodeForm::kNfkd);
  } else if (type == "Prepend") {
    normalizer.Add(PrependStep{node.at("prepend").get<std::string>()});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.at("pattern"), "normalizer.Replace"));
    normalizer.Add(ReplaceStep{std::move(pattern), node.at("content").get<std::string>()});
  } else if (type == "Lowercase") {
    normalizer.Add(LowercaseStep{});
  } else if (type == "StripAccents") {
    normalizer.Add(StripAccentsStep{});
  } else if (type == "Strip") {
    normalizer.Add(StripSpaceStep{node.at("strip_left").get<bool>(), node.at("strip_right").get<bool>()});
  } else {
    return Unsupported("normalizer." + type);
  }
  return absl::OkStatus();
}

absl::StatusOr<SplitBehavior> ReadBehavior(const std::string& name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return Unsupported("pre_tokenizer.Split.behavior." + name);
}

// `add_prefix_space` is what old files have instead of the scheme.
absl::StatusOr<PrependScheme> ReadPrependScheme(const json& node, const std::string& component) {
  const auto name = ValueOr<std::string>(node, "prepend_scheme", "always");
  const bool add_prefix_space = ValueOr(node, "add_prefix_space", true);
  if (name == "never" || (!add_prefix_space && !node.contains("prepend_scheme")))
    return PrependScheme::kNever;
  if (!add_prefix_space) return Unsupported(component, "add_prefix_space contradicts prepend_scheme");
  if (name == "first") return PrependScheme::kFirst;
  if (name == "always") return PrependScheme::kAlways;
  return Unsupported(component + ".prepend_scheme." + name);
}

absl::Status AddByteLevel(const json& node, PreTokenizer& pre_tokenizer) {
  if (node.at("add_prefix_space").get<bool>()) pre_tokenizer.Add(PrefixSpaceStep{});
  if (ValueOr(node, "use_regex", true)) {
    ASSIGN_OR_RETURN(Pattern pattern, Pattern::Regex(kGpt2Pattern));
    pre_tokenizer.Add(SplitStep{std::move(pattern), SplitBehavior::kIsolated, false});
  }
  pre_tokenizer.SetByteLevel();
  return absl::OkStatus();
}

absl::Status AddSplit(const json& node, PreTokenizer& pre_tokenizer) {
  ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.at("pattern"), "pre_tokenizer.Split"));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadBehavior(node.at("behavior").get<std::string>()));
  pre_tokenizer.Add(SplitStep{std::move(pattern), behavior, ValueOr(node, "invert", false)});
  return absl::OkStatus();
}

absl::Status AddPreTokenizer(const json& node, PreTokenizer& pre_tokenizer) {
  const auto type = node.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& child : node.at("pretokenizers")) RETURN_IF_ERROR(AddPreTokenizer(child, pre_tokenizer));
    return absl::OkStatus();
  }
  if (pre_tokenizer.byte_level())
    return Unsupported("pre_tokenizer." + type, "behind ByteLevel is not supported");
  if (type == "ByteLevel") return AddByteLevel(node, pre_tokenizer);
  if (type == "Split") return AddSplit(node, pre_tokenizer);
  if (type == "Digits") {
    pre_tokenizer.Add(DigitsStep{ValueOr(node, "individual_digits", false)});
  } else if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(node, "pre_tokenizer.Metaspace"));
    OneCodePoint(node.at("replacement"));
    pre_tokenizer.Add(
        MetaspaceStep{node.at("replacement").get<std::string>(), scheme, ValueOr(node, "split", true)});
  } else {
    return Unsupported("pre_tokenizer." + type);
  }
  return absl::OkStatus();
}

absl::Status AddDecoder(const json& node, Decoder& decoder) {
  const auto type = node.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& child : node.at("decoders")) RETURN_IF_ERROR(AddDecoder(child, decoder));
  } else if (type == "ByteLevel") {
    decoder.Add(ByteLevelDecoding{});
  } else if (type == "ByteFallback") {
    decoder.Add(ByteFallbackDecoding{});
  } else if (type == "Fuse") {
    decoder.Add(FuseDecoding{});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.at("pattern"), "decoder.Replace"));
    decoder.Add(ReplaceDecoding{std::move(pattern), node.at("content").get<std::string>()});
  } else if (type == "Strip") {
    decoder.Add(StripDecoding{OneCodePoint(node.at("content")), node.at("start").get<int64_t>(),
                              node.at("stop").get<int64_t>()});
  } else if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(node, "decoder.Metaspace"));
    decoder.Add(MetaspaceDecoding{OneCodePoint(node.at("replacement")), scheme});
  } else {
    return Unsupported("decoder." + type);
  }
  return absl::OkStatus();
}

absl::Status AddTemplate(const json& node, TokenizerParts& parts) {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  bool behind_sequence = false;
  for (const json& piece : node.at("single")) {
    if (piece.contains("Sequence")) {
      if (behind_sequence || piece.at("Sequence").at("id") != "A") {
        return Unsupported("post_processor.TemplateProcessing", "must have the sequence A once");
      }
      behind_sequence = true;
      continue;
    }
    const auto name = piece.at("SpecialToken").at("id").get<std::string>();
    const auto ids = node.at("special_tokens").at(name).at("ids").get<std::vector<int32_t>>();
    auto& side = behind_sequence ? suffix : prefix;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!behind_sequence)
    return Unsupported("post_processor.TemplateProcessing", "must have the sequence A once");
  parts.prefix_ids.insert(parts.prefix_ids.begin(), prefix.begin(), prefix.end());
  parts.suffix_ids.insert(parts.suffix_ids.end(), suffix.begin(), suffix.end());
  return absl::OkStatus();
}

absl::Status AddPostProcessor(const json& node, TokenizerParts& parts) {
  const auto type = node.at("type").get<std::string>();
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
  if (type == "TemplateProcessing") return AddTemplate(node, parts);
  if (type != "Sequence") return Unsupported("post_processor." + type);
  for (const json& child : node.at("processors")) RETURN_IF_ERROR(AddPostProcessor(child, parts));
  return absl::OkStatus();
}

// A merge is a pair, or (in older files) one string with a space between the two.
std::pair<std::string, std::string> ReadMerge(const json& node) {
  if (node.is_array() && node.size() == 2) return {node[0].get<std::string>(), node[1].get<std::string>()};
  const auto text = node.get<std::string>();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    throw json::other_error::create(601, "merge '" + text + "' is not a pair", &node);
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

absl::Status CheckModel(const json& node) {
  const auto type = ValueOr<std::string>(node, "type", node.contains("merges") ? "BPE" : "");
  if (type != "BPE") return Unsupported("model." + (type.empty() ? "without a type" : type));
  if (ValueOr(node, "dropout", 0.0) != 0.0) return Unsupported("model.dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!ValueOr<std::string>(node, key, "").empty()) return Unsupported(absl::StrCat("model.", key));
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeOptions> ReadModel(const json& node, bool byte_level) {
  const json& vocabulary = node.at("vocab");
  RETURN_IF_ERROR(CheckModel(node));
  BpeOptions options;
  options.unknown_token = ValueOr<std::string>(node, "unk_token", "");
  options.byte_fallback = ValueOr(node, "byte_fallback", false);
  options.fuse_unknown = ValueOr(node, "fuse_unk", false);
  options.ignore_merges = ValueOr(node, "ignore_merges", false);
  options.byte_level = byte_level;
  options.vocabulary.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.get_ref<const json::object_t&>()) {
    options.vocabulary.emplace_back(token, id.get<int32_t>());
  }
  options.merges.reserve(node.at("merges").size());
  for (const json& merge : node.at("merges")) options.merges.push_back(ReadMerge(merge));
  return options;
}

AddedToken ReadAddedToken(const json& node) {
  AddedToken token;
  token.id = node.at("id").get<int32_t>();
  token.content = node.at("content").get<std::string>();
  token.single_word = ValueOr(node, "single_word", false);
  token.lstrip = ValueOr(node, "lstrip", false);
  token.rstrip = ValueOr(node, "rstrip", false);
  token.special = ValueOr(node, "special", false);
  token.normalized = ValueOr(node, "normalized", !token.special);
  return token;
}

absl::StatusOr<TokenizerParts> ReadParts(const json& root) {
  TokenizerParts parts;
  if (!IsAbsent(root, "normalizer")) RETURN_IF_ERROR(AddNormalizer(root.at("normalizer"), parts.normalizer));
  if (!IsAbsent(root, "pre_tokenizer")) {
    RETURN_IF_ERROR(AddPreTokenizer(root.at("pre_tokenizer"), parts.pre_tokenizer));
  }
  if (!IsAbsent(root, "post_processor")) RETURN_IF_ERROR(AddPostProcessor(root.at("post_processor"), parts));
  if (IsAbsent(root, "decoder")) {
    parts.decoder.SetAbsent();
  } else {
    RETURN_IF_ERROR(AddDecoder(root.at("decoder"), parts.decoder));
  }
  ASSIGN_OR_RETURN(parts.model, ReadModel(root.at("model"), parts.pre_tokenizer.byte_level()));
  if (!IsAbsent(root, "added_tokens")) {
    for (const json& node : root.at("added_tokens")) parts.added_tokens.push_back(ReadAddedToken(node));
  }
  return parts;
}

// A token in tokenizer_config.json is a string, an object with its content, or null.
std::string ReadToken(const json& root, const char* key) {
  if (IsAbsent(root, key)) return "";
  const json& value = root.at(key);
  return value.is_object() ? value.at("content").get<std::string>() : value.get<std::string>();
}

TokenizerConfig ReadConfig(const json& root) {
  TokenizerConfig config;
  config.bos_token = ReadToken(root, "bos_token");
  config.eos_token = ReadToken(root, "eos_token");
  const auto type = ValueOr<std::string>(root, "tokenizer_class", "");
  config.sets_specials = type == "LlamaTokenizer" || type == "LlamaTokenizerFast";
  config.add_bos = config.sets_specials && ValueOr(root, "add_bos_token", true);
  config.add_eos = config.sets_specials && ValueOr(root, "add_eos_token", false);
  const double length = ValueOr(root, "model_max_length", 0.0);
  if (length >= 1 && length <= std::numeric_limits<int>::max()) config.max_length = static_cast<int>(length);
  return config;
}

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

// The JSON library throws on a missing key or a wrong type; here, at its border, that becomes a Status.
absl::StatusOr<TokenizerParts> ReadTokenizerJson(std::string_view text) {
  try {
    return ReadParts(json::parse(text));
  } catch (const json::exception& error) {
    return InvalidTokenizer(kTokenizerFile, error.what());
  }
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(std::string_view text) {
  if (text.empty()) return TokenizerConfig();
  try {
    return ReadConfig(json::parse(text));
  } catch (const json::exception& error) {
    return InvalidTokenizer(kTokenizerConfigFile, error.what());
  }
}

}  // namespace quantmoe
