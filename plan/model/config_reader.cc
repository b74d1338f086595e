#include "plan/model/config_reader.h"

#include <cmath>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/python_json.h"

namespace quantmoe {
namespace {

const nlohmann::json kNull;

// Infinity, -Infinity or NaN as Python writes it, or as transformers 5 does: {"__float__": "Infinity"}.
absl::string_view NonFinite(const nlohmann::json& value) {
  if (value.is_string()) return NonFiniteWord(value.get_ref<const std::string&>());
  if (!value.is_object() || value.size() != 1 || !value.contains("__float__")) return "";
  const nlohmann::json& word = value["__float__"];
  return word.is_string() ? absl::string_view(word.get_ref<const std::string&>()) : "";
}

// Nothing of a model is nearer to 0 and not 0, and the inverse of every such number has to be finite in
// float32.
constexpr double kLeastMagnitude = 1e-30;

bool IsLost(double number) { return number != 0 && std::abs(number) < kLeastMagnitude; }

// Values in messages are cut: a hostile config must not become a hostile log line.
std::string Show(const nlohmann::json& value) {
  if (const absl::string_view word = NonFinite(value); !word.empty()) return std::string(word);
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() > 80 ? absl::StrCat(text.substr(0, 80), "...") : text;
}

}  // namespace

// Whether a field of a multimodal config belongs to its language model.
bool ConfigReader::IsInner(absl::string_view key) const {
  const absl::string_view first = key.substr(0, key.find('.'));
  if (inner_.empty() || first == "model_type" || first == "architectures") return false;
  // Beside the language model when it is there; else with it.
  if (first == "tie_word_embeddings") return !config_.contains(std::string(first));
  const bool either = first == "dtype" || first == "torch_dtype" || first == "quantization_config";
  return !either || config_.at(inner_).contains(std::string(first));
}

const nlohmann::json& ConfigReader::ObjectOf(absl::string_view key) const {
  return IsInner(key) ? config_.at(inner_) : config_;
}

const nlohmann::json& ConfigReader::At(absl::string_view key) const {
  const nlohmann::json* at = &ObjectOf(key);
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    if (!at->is_object()) return kNull;
    const auto found = at->find(std::string(key.substr(begin, end - begin)));
    if (found == at->end()) return kNull;
    at = &*found;
    begin = end + 1;
  }
  return *at;
}

bool ConfigReader::Has(absl::string_view key) const { return !At(key).is_null(); }

bool ConfigReader::HasMembers(absl::string_view key) const {
  return Has(key) && !(At(key).is_object() && At(key).empty());
}

bool ConfigReader::Named(absl::string_view key) const { return ObjectOf(key).contains(std::string(key)); }

int64_t ConfigReader::Int(absl::string_view key, int64_t min, int64_t max) {
  const nlohmann::json& value = At(key);
  if (value.is_null()) {
    Invalid(key, "is missing");
    return min;
  }
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits) {
    Invalid(key, absl::StrCat("must be an integer, not ", Show(value)));
    return min;
  }
  const int64_t number = value.get<int64_t>();
  if (number < min || number > max) {
    Invalid(key, absl::StrCat("is ", number, ", outside [", min, ", ", max, "]"));
    return min;
  }
  return number;
}

int64_t ConfigReader::IntOr(absl::string_view key, int64_t absent, int64_t min, int64_t max) {
  return Has(key) ? Int(key, min, max) : absent;
}

double ConfigReader::Number(absl::string_view key, double above, double at_most) {
  const nlohmann::json& value = At(key);
  if (value.is_null()) {
    Invalid(key, "is missing");
    return at_most;
  }
  if (!NonFinite(value).empty()) {
    Invalid(key, absl::StrCat("is ", Show(value), ", outside (", above, ", ", at_most, "]"));
    return at_most;
  }
  if (!value.is_number()) {
    Invalid(key, absl::StrCat("must be a number, not ", Show(value)));
    return at_most;
  }
  const double number = value.get<double>();
  if (!std::isfinite(number) || number <= above || number > at_most) {
    Invalid(key, absl::StrCat("is ", Show(value), ", outside (", above, ", ", at_most, "]"));
    return at_most;
  }
  if (IsLost(number)) {
    Invalid(key, absl::StrCat("is ", Show(value), ", too near to 0 for arithmetic in float32"));
    return at_most;
  }
  return number;
}

double ConfigReader::NumberOr(absl::string_view key, double absent, double above, double at_most) {
  return Has(key) ? Number(key, above, at_most) : absent;
}

bool ConfigReader::BoolOr(absl::string_view key, bool absent) {
  const nlohmann::json& value = At(key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) {
    Invalid(key, absl::StrCat("must be true or false, not ", Show(value)));
    return absent;
  }
  return value.get<bool>();
}

std::string ConfigReader::TextOr(absl::string_view key, absl::string_view absent) {
  const nlohmann::json& value = At(key);
  if (value.is_null()) return std::string(absent);
  if (!value.is_string()) {
    Invalid(key, absl::StrCat("must be a text, not ", Show(value)));
    return std::string(absent);
  }
  return value.get<std::string>();
}

std::vector<std::string> ConfigReader::Texts(absl::string_view key) {
  const nlohmann::json& value = At(key);
  std::vector<std::string> texts;
  if (value.is_null()) return texts;
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_string();
    if (good) texts.push_back(value[i].get<std::string>());
  }
  if (!good) Invalid(key, absl::StrCat("must be a list of texts, not ", Show(value)));
  return texts;
}

std::vector<int64_t> ConfigReader::Ints(absl::string_view key) {
  const nlohmann::json& value = At(key);
  std::vector<int64_t> numbers;
  if (value.is_null()) return numbers;
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_number_integer();
    if (good) numbers.push_back(value[i].get<int64_t>());
  }
  if (!good) Invalid(key, absl::StrCat("must be a list of integers, not ", Show(value)));
  return numbers;
}

std::vector<double> ConfigReader::Numbers(absl::string_view key) {
  const nlohmann::json& value = At(key);
  std::vector<double> numbers;
  if (value.is_null()) return numbers;
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_number() && std::isfinite(value[i].get<double>()) && value[i].get<double>() > 0 &&
           !IsLost(value[i].get<double>());
    if (good) numbers.push_back(value[i].get<double>());
  }
  if (!good) Invalid(key, absl::StrCat("must be a list of positive numbers, not ", Show(value)));
  return numbers;
}

void ConfigReader::Invalid(absl::string_view key, absl::string_view why) { Fail("MODEL_INVALID", key, why); }
void ConfigReader::Unsupported(absl::string_view key, absl::string_view why) {
  Fail("MODEL_UNSUPPORTED", key, why);
}

void ConfigReader::Fail(absl::string_view reason, absl::string_view key, absl::string_view why) {
  if (!status_.ok()) return;
  const std::string field = IsInner(key) ? absl::StrCat(inner_, ".", key) : std::string(key);
  status_ = MakeError(absl::StatusCode::kInvalidArgument, reason,
                      absl::StrCat("config.json: field `", field, "` ", why),
                      {{"file", "config.json"}, {"field", field}});
}

}  // namespace quantmoe
