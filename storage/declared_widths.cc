#include "storage/declared_widths.h"

#include <cctype>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Bad(const std::string& what) { return absl::DataLossError(what); }

std::optional<int> IntAt(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key) || !json[key].is_number_integer()) return std::nullopt;
  return json[key].get<int>();
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

}  // namespace

absl::Status DeclaredWidths::AddPattern(const std::string& pattern, DeclaredWidth width) {
  const Literal literal = LiteralOf(pattern);
  const size_t place = count_++;
  if (literal.whole) {
    names_.try_emplace(literal.text, place, width);
    return absl::OkStatus();
  }
  try {
    rules_.push_back({place, {literal.text, std::regex(pattern, std::regex::optimize), width}});
  } catch (const std::regex_error&) {
    return Bad(absl::StrCat("'", pattern, "' is no regular expression"));
  }
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

DeclaredWidth DeclaredWidths::Of(const std::string& module) const {
  const auto exact = names_.find(module);
  const size_t limit = exact == names_.end() ? count_ : exact->second.first;
  for (const auto& [place, rule] : rules_) {
    if (place >= limit) break;
    if (absl::StartsWith(module, rule.start) &&
        std::regex_search(module, rule.pattern, std::regex_constants::match_continuous)) {
      return rule.width;
    }
  }
  return exact == names_.end() ? default_ : exact->second.second;
}

}  // namespace quantmoe
