// JSON as Python writes it: its json module writes Infinity, -Infinity and NaN as bare words and reads them
// again, so that a config.json may hold them. A parser of JSON takes such a text after QuoteNonFinite, and
// what is written from the tree is Python's again after UnquoteNonFinite.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

// The text with a string that stands for it in place of each such word.
std::string QuoteNonFinite(absl::string_view text);

// The inverse, for JSON that was written without escapes for characters beyond ASCII.
std::string UnquoteNonFinite(absl::string_view text);

// The word that a parsed string stands for; empty when it is a string of the text.
absl::string_view NonFiniteWord(absl::string_view value);

}  // namespace quantmoe
