// A value of a JSON file together with its path, so that whatever is wrong with it is reported by name.
// Reading throws BadField, which does not leave tokenizer_json.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace quantmoe {

struct BadField {
  std::string message;  // path, what is wrong
};

// Refers to the JSON document, which must outlive it.
class JsonField {
 public:
  explicit JsonField(const nlohmann::json& root) : value_(&root) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& path() const { return path_; }

  // Whether there is a member that is not null.
  bool Has(const char* key) const;
  JsonField At(const char* key) const;
  std::vector<JsonField> Items() const;

  std::string String() const;
  bool Bool() const;
  int64_t Integer(int64_t smallest, int64_t largest) const;
  double Number() const;
  char32_t OneCodePoint() const;

  std::string StringOr(const char* key, const char* fallback) const;
  bool BoolOr(const char* key, bool fallback) const;

  [[noreturn]] void Fail(std::string_view what) const;

 private:
  JsonField(const nlohmann::json& value, std::string path, int depth);
  const nlohmann::json& Require(bool fits, const char* what) const;

  const nlohmann::json* value_;
  std::string path_;  // "model.merges[3]"; empty for the root
  int depth_ = 0;
};

}  // namespace quantmoe
