#include "cli/value_text.h"

#include "absl/strings/numbers.h"

#include "base/byte_size.h"
#include "base/text.h"

namespace quantmoe::cli {
namespace {

std::string Quoted(const std::string& text) { return absl::StrCat("'", CutText(OneLine(text), 80), "'"); }

}  // namespace

std::string TakeText(const OptionInfo&, const std::string& text, int& value) {
  return absl::SimpleAtoi(text, &value) ? "" : absl::StrCat(Quoted(text), " is not a whole number");
}

std::string TakeText(const OptionInfo& option, const std::string& text, int64_t& value) {
  if (option.typed != Typed::kAsSize) {
    return absl::SimpleAtoi(text, &value) ? "" : absl::StrCat(Quoted(text), " is not a whole number");
  }
  const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
  if (bytes.ok()) value = *bytes;
  return std::string(bytes.status().message());
}

std::string TakeText(const OptionInfo&, const std::string& text, double& value) {
  return absl::SimpleAtod(text, &value) ? "" : absl::StrCat(Quoted(text), " is not a number");
}

std::string TakeText(const OptionInfo&, const std::string& text, bool& value) {
  value = text == "true";
  return value || text == "false" ? "" : absl::StrCat(Quoted(text), " is neither true nor false");
}

std::string TakeText(const OptionInfo&, const std::string& text, std::string& value) {
  value = text;
  return "";
}

std::optional<std::pair<std::string, std::string>> SplitPair(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  return std::make_pair(text.substr(0, equals), text.substr(equals + 1));
}

std::string NoPair(const std::string& text) { return absl::StrCat(Quoted(text), " is not NAME=VALUE"); }

std::string FlagName(const OptionInfo& option) {
  const absl::string_view flag = option.flag;
  return std::string(flag.substr(0, flag.find(',')));
}

}  // namespace quantmoe::cli
