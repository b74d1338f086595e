#include "text/json_field.h"

#include "absl/strings/str_cat.h"

#include "text/unicode.h"

namespace quantmoe {
namespace {

constexpr int kDeepest = 64;  // far beyond any real file; bounds the recursion of sequences
constexpr size_t kLongestExcerpt = 60;

std::string Excerpt(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return absl::StrCat("a list of ", value.size());
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  return text.size() <= kLongestExcerpt ? text : absl::StrCat(text.substr(0, kLongestExcerpt), "...");
}

}  // namespace

JsonField::JsonField(const nlohmann::json& value, std::string path, int depth)
    : value_(&value), path_(std::move(path)), depth_(depth) {
  if (depth_ > kDeepest) Fail("is nested too deeply");
}

void JsonField::Fail(std::string_view what) const {
  throw BadField{absl::StrCat(path_.empty() ? "the file" : path_, " ", std::string(what))};
}

const nlohmann::json& JsonField::Require(bool fits, const char* what) const {
  if (!fits) Fail(absl::StrCat("is ", Excerpt(*value_), ", not ", what));
  return *value_;
}

bool JsonField::Has(const char* key) const {
  Require(value_->is_object(), "an object");
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonField JsonField::At(const char* key) const {
  Require(value_->is_object(), "an object");
  std::string path = path_.empty() ? key : absl::StrCat(path_, ".", key);
  const auto found = value_->find(key);
  if (found == value_->end()) throw BadField{path + " is missing"};
  return JsonField(*found, std::move(path), depth_ + 1);
}

std::vector<JsonField> JsonField::Items() const {
  Require(value_->is_array(), "a list");
  std::vector<JsonField> items;
  items.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i) {
    items.push_back(JsonField((*value_)[i], absl::StrCat(path_, "[", i, "]"), depth_ + 1));
  }
  return items;
}

std::string JsonField::String() const { return Require(value_->is_string(), "a string").get<std::string>(); }

bool JsonField::Bool() const { return Require(value_->is_boolean(), "true or false").get<bool>(); }

int64_t JsonField::Integer(int64_t smallest, int64_t largest) const {
  Require(value_->is_number_integer(), "an integer");
  const bool fits = value_->is_number_unsigned() && value_->get<uint64_t>() > INT64_MAX
                        ? false
                        : value_->get<int64_t>() >= smallest && value_->get<int64_t>() <= largest;
  if (!fits) Fail(absl::StrCat("is ", value_->dump(), ", not between ", smallest, " and ", largest));
  return value_->get<int64_t>();
}

double JsonField::Number() const { return Require(value_->is_number(), "a number").get<double>(); }

char32_t JsonField::OneCodePoint() const {
  const std::string text = String();
  if (CountCodePoints(text) != 1) Fail(absl::StrCat("is ", Excerpt(*value_), ", not one character"));
  size_t position = 0;
  return NextCodePoint(text, position);
}

std::string JsonField::StringOr(const char* key, const char* fallback) const {
  return Has(key) ? At(key).String() : fallback;
}

bool JsonField::BoolOr(const char* key, bool fallback) const { return Has(key) ? At(key).Bool() : fallback; }

}  // namespace quantmoe
