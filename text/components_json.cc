#include "text/components_json.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace quantmoe {
namespace {

constexpr int32_t kLargestId = 1 << 26;
constexpr char kPunctuation[] = R"([\p{P}$+<=>^`|~])";
constexpr char kWords[] = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+)"
                          R"(|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)";

// {"String": ...} or {"Regex": ...}
absl::StatusOr<Pattern> ReadPattern(const JsonField& value, const std::string& component) {
  if (value.Has("String")) return Pattern::Literal(value.At("String").String());
  auto pattern = Pattern::Regex(value.At("Regex").String());
  if (!pattern.ok()) return UnsupportedComponent(component, std::string(pattern.status().message()));
  return pattern;
}

absl::StatusOr<SplitBehavior> ReadBehavior(const JsonField& node, const std::string& component) {
  const std::string name = node.At("behavior").String();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return UnsupportedComponent(absl::StrCat(component, ".behavior.", name));
}

// `add_prefix_space` is what old files have instead of the scheme.
absl::StatusOr<PrependScheme> ReadPrependScheme(const JsonField& node, const std::string& component) {
  const std::string name = node.StringOr("prepend_scheme", "always");
  const bool add_prefix_space = node.BoolOr("add_prefix_space", true);
  if (name == "never" || (!add_prefix_space && !node.Has("prepend_scheme"))) return PrependScheme::kNever;
  if (!add_prefix_space)
    return UnsupportedComponent(component, "add_prefix_space contradicts prepend_scheme");
  if (name == "first") return PrependScheme::kFirst;
  if (name == "always") return PrependScheme::kAlways;
  return UnsupportedComponent(component + ".prepend_scheme." + name);
}

absl::Status AddExpression(const std::string& expression, SplitBehavior behavior, bool invert,
                           PreTokenizer& pre_tokenizer) {
  ASSIGN_OR_RETURN(Pattern pattern, Pattern::Regex(expression));
  pre_tokenizer.Add(SplitStep{std::move(pattern), behavior, invert});
  return absl::OkStatus();
}

absl::Status AddByteLevel(const JsonField& node, PreTokenizer& pre_tokenizer) {
  if (node.At("add_prefix_space").Bool()) pre_tokenizer.Add(PrefixSpaceStep{});
  pre_tokenizer.SetByteLevel();
  if (!node.BoolOr("use_regex", true)) return absl::OkStatus();
  return AddExpression(kGpt2Pattern, SplitBehavior::kIsolated, false, pre_tokenizer);
}

absl::Status AddSplit(const JsonField& node, PreTokenizer& pre_tokenizer) {
  ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.At("pattern"), "pre_tokenizer.Split"));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadBehavior(node, "pre_tokenizer.Split"));
  pre_tokenizer.Add(SplitStep{std::move(pattern), behavior, node.BoolOr("invert", false)});
  return absl::OkStatus();
}

absl::Status AddMetaspace(const JsonField& node, PreTokenizer& pre_tokenizer) {
  ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(node, "pre_tokenizer.Metaspace"));
  node.At("replacement").OneCodePoint();
  pre_tokenizer.Add(MetaspaceStep{node.At("replacement").String(), scheme, node.BoolOr("split", true)});
  return absl::OkStatus();
}

absl::Status AddPunctuation(const JsonField& node, PreTokenizer& pre_tokenizer) {
  SplitBehavior behavior = SplitBehavior::kIsolated;
  if (node.Has("behavior")) {
    ASSIGN_OR_RETURN(behavior, ReadBehavior(node, "pre_tokenizer.Punctuation"));
  }
  return AddExpression(kPunctuation, behavior, false, pre_tokenizer);
}

absl::Status AddFixedLength(const JsonField& node, PreTokenizer& pre_tokenizer) {
  const int64_t length = node.At("length").Integer(1, 65535);
  return AddExpression(absl::StrCat("(?m:.{1,", length, "})"), SplitBehavior::kIsolated, false,
                       pre_tokenizer);
}

absl::Status AddBertWords(PreTokenizer& pre_tokenizer) {
  RETURN_IF_ERROR(AddExpression(R"(\s)", SplitBehavior::kRemoved, false, pre_tokenizer));
  return AddExpression(kPunctuation, SplitBehavior::kIsolated, false, pre_tokenizer);
}

absl::Status AddTemplate(const JsonField& node, TokenizerParts& parts) {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  bool behind_sequence = false;
  for (const JsonField& piece : node.At("single").Items()) {
    if (piece.Has("Sequence")) {
      if (behind_sequence || piece.At("Sequence").At("id").String() != "A") {
        return UnsupportedComponent("post_processor.TemplateProcessing", "must have the sequence A once");
      }
      behind_sequence = true;
      continue;
    }
    const std::string name = piece.At("SpecialToken").At("id").String();
    auto& side = behind_sequence ? suffix : prefix;
    for (const JsonField& id : node.At("special_tokens").At(name.c_str()).At("ids").Items())
      side.push_back(static_cast<int32_t>(id.Integer(0, kLargestId)));
  }
  if (!behind_sequence)
    return UnsupportedComponent("post_processor.TemplateProcessing", "must have the sequence A once");
  parts.prefix_ids.insert(parts.prefix_ids.begin(), prefix.begin(), prefix.end());
  parts.suffix_ids.insert(parts.suffix_ids.end(), suffix.begin(), suffix.end());
  return absl::OkStatus();
}

// Of BERT and RoBERTa: a token ["[CLS]", 101] in front and one behind.
int32_t TokenOfPair(const JsonField& pair) {
  const std::vector<JsonField> items = pair.Items();
  if (items.size() != 2) pair.Fail("is not a token with its id");
  return static_cast<int32_t>(items[1].Integer(0, kLargestId));
}

}  // namespace

absl::Status UnsupportedComponent(const std::string& component, const std::string& why) {
  return UnsupportedTokenizer(kTokenizerFile, component, why);
}

absl::Status AddNormalizer(const JsonField& node, Normalizer& normalizer) {
  const std::string type = node.At("type").String();
  if (type == "Sequence") {
    for (const JsonField& child : node.At("normalizers").Items())
      RETURN_IF_ERROR(AddNormalizer(child, normalizer));
  } else if (type == "NFC") {
    normalizer.Add(UnicodeForm::kNfc);
  } else if (type == "NFD") {
    normalizer.Add(UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    normalizer.Add(UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    normalizer.Add(UnicodeForm::kNfkd);
  } else if (type == "Prepend") {
    normalizer.Add(PrependStep{node.At("prepend").String()});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.At("pattern"), "normalizer.Replace"));
    normalizer.Add(ReplaceStep{std::move(pattern), node.At("content").String()});
  } else if (type == "Lowercase") {
    normalizer.Add(LowercaseStep{});
  } else if (type == "StripAccents") {
    normalizer.Add(StripAccentsStep{});
  } else if (type == "Strip") {
    normalizer.Add(StripSpaceStep{node.At("strip_left").Bool(), node.At("strip_right").Bool()});
  } else {
    return UnsupportedComponent("normalizer." + type);
  }
  return absl::OkStatus();
}

absl::Status AddPreTokenizer(const JsonField& node, PreTokenizer& pre_tokenizer) {
  const std::string type = node.At("type").String();
  if (type == "Sequence") {
    for (const JsonField& child : node.At("pretokenizers").Items())
      RETURN_IF_ERROR(AddPreTokenizer(child, pre_tokenizer));
    return absl::OkStatus();
  }
  if (pre_tokenizer.byte_level())
    return UnsupportedComponent("pre_tokenizer." + type, "behind ByteLevel is not supported");
  if (type == "ByteLevel") return AddByteLevel(node, pre_tokenizer);
  if (type == "Split") return AddSplit(node, pre_tokenizer);
  if (type == "Metaspace") return AddMetaspace(node, pre_tokenizer);
  if (type == "Punctuation") return AddPunctuation(node, pre_tokenizer);
  if (type == "FixedLength") return AddFixedLength(node, pre_tokenizer);
  if (type == "BertPreTokenizer") return AddBertWords(pre_tokenizer);
  if (type == "Whitespace") return AddExpression(kWords, SplitBehavior::kRemoved, true, pre_tokenizer);
  if (type == "WhitespaceSplit") return AddExpression(R"(\s)", SplitBehavior::kRemoved, false, pre_tokenizer);
  if (type == "Digits") {
    pre_tokenizer.Add(DigitsStep{node.BoolOr("individual_digits", false)});
  } else if (type == "CharDelimiterSplit") {
    node.At("delimiter").OneCodePoint();
    pre_tokenizer.Add(
        SplitStep{Pattern::Literal(node.At("delimiter").String()), SplitBehavior::kRemoved, false});
  } else {
    return UnsupportedComponent("pre_tokenizer." + type);
  }
  return absl::OkStatus();
}

absl::Status AddDecoder(const JsonField& node, Decoder& decoder) {
  const std::string type = node.At("type").String();
  if (type == "Sequence") {
    for (const JsonField& child : node.At("decoders").Items()) RETURN_IF_ERROR(AddDecoder(child, decoder));
  } else if (type == "ByteLevel") {
    decoder.Add(ByteLevelDecoding{});
  } else if (type == "ByteFallback") {
    decoder.Add(ByteFallbackDecoding{});
  } else if (type == "Fuse") {
    decoder.Add(FuseDecoding{});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node.At("pattern"), "decoder.Replace"));
    decoder.Add(ReplaceDecoding{std::move(pattern), node.At("content").String()});
  } else if (type == "Strip") {
    decoder.Add(StripDecoding{node.At("content").OneCodePoint(), node.At("start").Integer(0, INT32_MAX),
                              node.At("stop").Integer(0, INT32_MAX)});
  } else if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(node, "decoder.Metaspace"));
    decoder.Add(MetaspaceDecoding{node.At("replacement").OneCodePoint(), scheme});
  } else {
    return UnsupportedComponent("decoder." + type);
  }
  return absl::OkStatus();
}

absl::Status AddPostProcessor(const JsonField& node, TokenizerParts& parts) {
  const std::string type = node.At("type").String();
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
  if (type == "TemplateProcessing") return AddTemplate(node, parts);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    parts.prefix_ids.insert(parts.prefix_ids.begin(), TokenOfPair(node.At("cls")));
    parts.suffix_ids.push_back(TokenOfPair(node.At("sep")));
    return absl::OkStatus();
  }
  if (type != "Sequence") return UnsupportedComponent("post_processor." + type);
  for (const JsonField& child : node.At("processors").Items())
    RETURN_IF_ERROR(AddPostProcessor(child, parts));
  return absl::OkStatus();
}

}  // namespace quantmoe
