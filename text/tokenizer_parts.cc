#include "text/tokenizer_parts.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"

namespace quantmoe {

absl::Status InvalidTokenizer(const std::string& file, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_INVALID", absl::StrCat(file, ": ", what),
                   {{"file", file}});
}

absl::Status UnsupportedTokenizer(const std::string& file, const std::string& component,
                                  const std::string& why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_UNSUPPORTED",
                   absl::StrCat(file, ": ", component, " ", why), {{"file", file}, {"component", component}});
}

}  // namespace quantmoe
