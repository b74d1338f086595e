#include "base/json.h"

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/text.h"

namespace quantmoe {
namespace {

constexpr size_t kLongestMessage = 200;

absl::Status Beyond(absl::string_view what, size_t limit) {
  return absl::InvalidArgumentError(absl::StrCat("is JSON with ", what, " than ", limit));
}

// The end of the string that begins behind `i`, at its closing quote.
size_t SkipString(absl::string_view text, size_t i) {
  for (++i; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\') ++i;
  }
  return i;
}

// The library's messages begin with a number of its own in brackets.
std::string PlainMessage(absl::string_view message) {
  const size_t end = message.find("] ");
  return CutText(end == absl::string_view::npos ? message : message.substr(end + 2), kLongestMessage);
}

absl::Status NotValid(absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("is not valid JSON: ", PlainMessage(message)));
}

// Builds a tree from the events of the parser. The library's own builder looks through all earlier members of
// an object for each one that it adds, which takes minutes for the 300,000 of a line of 4 MB.
class OrderedBuilder : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  using Json = nlohmann::ordered_json;

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t& value) override { return Add(std::move(value)); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    error_ = error.what();
    return false;
  }

  Json& root() { return root_; }
  const std::string& error() const { return error_; }

 private:
  // An array, or an object with the name of the member that comes next.
  struct Level {
    Json value;
    std::string key;
    std::unordered_map<std::string, size_t> places;  // of all members, once there are many
  };
  static constexpr size_t kMany = 32;

  bool Open(Json empty) {
    open_.push_back({std::move(empty), {}, {}});
    return true;
  }

  bool Close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return Add(std::move(value));
  }

  bool Add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().value.is_array()) {
      open_.back().value.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      AddMember(open_.back(), std::move(value));
    }
    return true;
  }

  // Of a name that is there twice, the last value counts, at the place of the first.
  static void AddMember(Level& level, Json value) {
    auto& members = level.value.get_ref<Json::object_t&>();
    const size_t place = PlaceOf(level, members);
    if (place < members.size()) {
      (members.begin() + static_cast<std::ptrdiff_t>(place))->second = std::move(value);
    } else {
      members.emplace_back(std::move(level.key), std::move(value));
    }
  }

  // That of the member named level.key; one behind the last when there is none, which is counted from now on.
  static size_t PlaceOf(Level& level, const Json::object_t& members) {
    size_t place = 0;
    if (members.size() >= kMany) {
      if (level.places.empty()) {
        for (const auto& member : members) level.places.emplace(member.first, place++);
      }
      return level.places.emplace(level.key, members.size()).first->second;
    }
    for (auto member = members.begin(); member != members.end() && member->first != level.key; ++member)
      ++place;
    return place;
  }

  Json root_;
  std::vector<Level> open_;
  std::string error_;
};

}  // namespace

absl::Status CheckJsonLimits(absl::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) return Beyond("more bytes", limits.bytes);
  size_t depth = 0, values = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        i = SkipString(text, i);
        break;
      case '[':
      case '{':
        if (++depth > limits.depth) return Beyond("deeper nesting", limits.depth);
        [[fallthrough]];
      case ',':
        if (++values > limits.values) return Beyond("more values", limits.values);
        break;
      case ']':
      case '}':
        if (depth > 0) --depth;
        break;
      default:
        break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const JsonLimits& limits,
                                         const nlohmann::json::parser_callback_t& watch) {
  if (absl::Status status = CheckJsonLimits(text, limits); !status.ok()) return status;
  try {
    return nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& error) {
    return NotValid(error.what());
  }
}

absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(absl::string_view text, const JsonLimits& limits) {
  if (absl::Status status = CheckJsonLimits(text, limits); !status.ok()) return status;
  OrderedBuilder builder;
  if (!nlohmann::ordered_json::sax_parse(text.begin(), text.end(), &builder))
    return NotValid(builder.error());
  return std::move(builder.root());
}

nlohmann::json OwnJson(absl::string_view text) { return nlohmann::json::parse(text.begin(), text.end()); }

nlohmann::ordered_json OwnOrderedJson(absl::string_view text) {
  OrderedBuilder builder;
  if (nlohmann::ordered_json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root());
  throw std::invalid_argument(builder.error());
}

}  // namespace quantmoe
