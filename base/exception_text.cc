#include "base/exception_text.h"

#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <system_error>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "base/text.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxBytes = 300;

template <typename T>
bool Is(const std::exception& error) {
  return dynamic_cast<const T*>(&error) != nullptr;
}

std::string FirstLine(absl::string_view text) { return CutText(text.substr(0, text.find('\n')), kMaxBytes); }

// nlohmann::json begins with "[json.exception.KIND.NUMBER] ", and a parse error goes on with its kind.
absl::string_view WithoutLibraryNumber(absl::string_view what) {
  if (!absl::StartsWith(what, "[json.exception.")) return what;
  const size_t end = what.find("] ");
  return end == absl::string_view::npos ? what : what.substr(end + 2);
}

// The standard library puts the name of its own function here, as "stoi" and "vector::_M_range_check".
bool NamesAFunction(absl::string_view what) {
  const absl::string_view first = what.substr(0, what.find_first_of(" :("));
  return absl::StrContains(what, "::") || absl::StartsWith(first, "sto");
}

}  // namespace

std::string ExceptionText(const std::exception& error) {
  if (Is<std::bad_alloc>(error)) return "the memory is exhausted";
  if (Is<std::length_error>(error)) return "a size is larger than a program can hold";
  if (Is<std::bad_optional_access>(error) || Is<std::bad_variant_access>(error) ||
      Is<std::bad_function_call>(error)) {
    return "a value that should be there is missing";
  }
  if (Is<std::regex_error>(error)) return "a pattern is no regular expression";
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    return FirstLine(absl::StrCat(file->path1().string(), ": ", file->code().message()));
  }
  if (const auto* system = dynamic_cast<const std::system_error*>(&error))
    return FirstLine(system->code().message());
  const absl::string_view what = WithoutLibraryNumber(error.what());
  const bool standard = Is<std::out_of_range>(error) || Is<std::invalid_argument>(error);
  if (standard && NamesAFunction(what)) return "a number or an index is malformed or out of range";
  if (what.empty() || absl::StartsWith(what, "std::")) return "an unexpected failure";
  return FirstLine(what);
}

}  // namespace quantmoe
