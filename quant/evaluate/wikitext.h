// WikiText pages: from words with white space around every sign to text as it is written, exactly as the
// published task does it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quantmoe {

// The harness's wikitext_detokenizer, rule by rule and in its order.
std::string DetokenizeWikiText(std::string_view page);

// Pieces of re.split("\\s+", page): white space at the ends yields empty pieces, which count.
int64_t CountWikiTextWords(std::string_view page);

}  // namespace quantmoe
