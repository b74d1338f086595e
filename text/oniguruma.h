// Translates regular expressions from Oniguruma's Ruby dialect, in which tokenizer.json is written, into
// PCRE2's. The two differ silently: `\h` is a hexadecimal digit there and a space here, `[a[bc]&&[^b]]` has
// set operations there and none here, `{1,3}+` repeats there and is possessive here, `\w` and `\s` have other
// members.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quantmoe {

// UNIMPLEMENTED names the construct that has no counterpart. Syntax errors are left to PCRE2. The result is
// meant for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE.
absl::StatusOr<std::string> TranslateOniguruma(std::string_view expression);

}  // namespace quantmoe
