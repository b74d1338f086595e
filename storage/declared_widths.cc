#include "storage/declared_widths.h"

#include <cctype>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/json_number.h"
#include "base/status_macros.h"
#include "base/text.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

// Patterns of published checkpoints take some hundred steps on a name.
constexpr uint32_t kMostSteps = 100'000;
constexpr size_t kMostPatterns = 10'000;
constexpr size_t kLongestShown = 200;

absl::Status Bad(const std::string& what) { return absl::DataLossError(what); }

std::optional<int> IntAt(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) ? FindInteger<int>(json[key]) : std::nullopt;
}

std::optional<bool> BoolAt(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key) || !json[key].is_boolean()) return std::nullopt;
  return json[key].get<bool>();
}

bool Is(const Json& json, const char* key, const Json& value) {
  return json.is_object() && json.contains(key) && json[key] == value;
}

struct Literal {
  std::string text;    // the plain characters behind "^"
  bool whole = false;  // the pattern is "^", the text and "$"
};

// Nothing for patterns that are not anchored or that are alternatives as a whole.
Literal LiteralOf(const std::string& pattern) {
  int depth = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == '(') {
      ++depth;
    } else if (pattern[i] == ')') {
      --depth;
    } else if (pattern[i] == '|' && depth == 0) {
      return {};
    }
  }
  if (!absl::StartsWith(pattern, "^")) return {};
  Literal literal;
  for (size_t i = 1; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-') {
      literal.text += c;
    } else if (c == '\\' && i + 1 < pattern.size() && pattern[i + 1] == '.') {
      literal.text += pattern[++i];
    } else {
      literal.whole = c == '$' && i + 1 == pattern.size();
      // A quantifier makes the character before it optional.
      if ((c == '*' || c == '?' || c == '{') && !literal.text.empty()) literal.text.pop_back();
      return literal;
    }
  }
  return literal;
}

std::string Shown(const std::string& pattern) { return CutText(OneLine(pattern), kLongestShown); }

}  // namespace

// A file's expression, matched in bounded steps and memory.
class DeclaredWidths::Pattern {
 public:
  explicit Pattern(const std::string& text)
      : text_(text), code_(Compile(text)), context_(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context_, kMostSteps);
  }
  ~Pattern() {
    pcre2_match_context_free(context_);
    pcre2_code_free(code_);
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool sound() const { return code_ != nullptr; }

  // Whether `name` begins with a match.
  absl::StatusOr<bool> Matches(const std::string& name) const {
    pcre2_match_data* data = pcre2_match_data_create_from_pattern(code_, nullptr);
    const int rc = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0,
                               PCRE2_ANCHORED, data, context_);
    pcre2_match_data_free(data);
    if (rc >= 0) return true;
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    return Bad(absl::StrCat("'", Shown(text_), "' takes too many steps to match a name"));
  }

 private:
  static pcre2_code* Compile(const std::string& text) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_NEVER_BACKSLASH_C,
                         &error, &offset, nullptr);
  }

  const std::string text_;
  pcre2_code* const code_;
  pcre2_match_context* const context_;
};

absl::Status DeclaredWidths::AddPattern(const std::string& pattern, DeclaredWidth width) {
  const Literal literal = LiteralOf(pattern);
  const size_t place = count_++;
  if (literal.whole) {
    names_.try_emplace(literal.text, place, width);
    return absl::OkStatus();
  }
  if (rules_.size() >= kMostPatterns) return Bad(absl::StrCat("more than ", kMostPatterns, " patterns"));
  auto compiled = std::make_shared<const Pattern>(pattern);
  if (!compiled->sound())
    return Bad(absl::StrCat("'", Shown(pattern), "' is no regular expression that can be used"));
  rules_.push_back({place, {literal.text, std::move(compiled), width}});
  return absl::OkStatus();
}

absl::StatusOr<DeclaredWidths> DeclaredWidths::FromGptq(const Json& config) {
  const std::optional<int> bits = IntAt(config, "bits"), group_size = IntAt(config, "group_size");
  if (!bits || !group_size) return Bad("bits or group_size is missing");
  const std::optional<bool> symmetric = BoolAt(config, "sym");
  if (!symmetric || !Is(config, "desc_act", false)) return Bad("sym is missing, or desc_act is not false");
  DeclaredWidths widths;
  widths.default_ = {*bits, *group_size, *symmetric};
  const auto rules = config.find("dynamic");
  if (rules == config.end()) return widths;
  if (!rules->is_object()) return Bad("dynamic is no object");
  for (const auto& [key, rule] : rules->items()) {
    DeclaredWidth width = widths.default_;
    if (absl::StartsWith(key, "-:")) {
      width = {};
    } else {
      width = {IntAt(rule, "bits").value_or(*bits), IntAt(rule, "group_size").value_or(*group_size),
               BoolAt(rule, "sym").value_or(*symmetric)};
    }
    const bool marked = absl::StartsWith(key, "-:") || absl::StartsWith(key, "+:");
    RETURN_IF_ERROR(widths.AddPattern(marked ? key.substr(2) : key, width));
  }
  return widths;
}

absl::Status DeclaredWidths::AddGroup(const Json& group) {
  const Json weights = group.is_object() ? group.value("weights", Json()) : Json();
  const std::optional<int> bits = IntAt(weights, "num_bits"), group_size = IntAt(weights, "group_size");
  if (!bits || !group_size || !Is(weights, "symmetric", true) || !Is(weights, "strategy", "group") ||
      !Is(weights, "type", "int") || !group.contains("targets") || !group["targets"].is_array()) {
    return Bad("a group of config_groups is not symmetric int in groups, with targets");
  }
  for (const Json& target : group["targets"]) {
    if (!target.is_string()) return Bad("a target of config_groups is no text");
    const std::string text = target.get<std::string>();
    const DeclaredWidth width{*bits, *group_size};
    if (text == "Linear") {
      default_ = width;
    } else if (absl::StartsWith(text, "re:")) {
      RETURN_IF_ERROR(AddPattern(text.substr(3), width));
    } else {
      names_.try_emplace(text, count_++, width);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DeclaredWidths> DeclaredWidths::FromCompressedTensors(const Json& config) {
  DeclaredWidths widths;
  if (!Is(config, "format", "pack-quantized")) return Bad("format is not pack-quantized");
  if (!config.contains("ignore") || !config["ignore"].is_array() || !config.contains("config_groups") ||
      !config["config_groups"].is_object()) {
    return Bad("ignore or config_groups is missing");
  }
  for (const Json& entry : config["ignore"]) {
    if (!entry.is_string()) return Bad("an entry of ignore is no text");
    const std::string text = entry.get<std::string>();
    if (absl::StartsWith(text, "re:")) {
      RETURN_IF_ERROR(widths.AddPattern(text.substr(3), {}));
    } else {
      widths.names_.try_emplace(text, widths.count_++, DeclaredWidth{});
    }
  }
  for (const auto& [name, group] : config["config_groups"].items()) RETURN_IF_ERROR(widths.AddGroup(group));
  return widths;
}

absl::StatusOr<DeclaredWidth> DeclaredWidths::Of(const std::string& module) const {
  const auto exact = names_.find(module);
  const size_t limit = exact == names_.end() ? count_ : exact->second.first;
  for (const auto& [place, rule] : rules_) {
    if (place >= limit) break;
    if (!absl::StartsWith(module, rule.start)) continue;
    ASSIGN_OR_RETURN(const bool matches, rule.pattern->Matches(module));
    if (matches) return rule.width;
  }
  return exact == names_.end() ? default_ : exact->second.second;
}

}  // namespace quantmoe
