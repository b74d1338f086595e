// Where the reference code of a family cuts long texts before it looks for words, so that its library can
// carry them. A word across such a cut becomes two, and ids are only the same with the same cuts.
#pragma once

#include <cstddef>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace quantmoe {

// In code points; 0: no limit.
struct TextCuts {
  size_t longest_text = 0;
  size_t longest_run = 0;  // of white space, or of other characters, each as Python's str.isspace
};

// Calls `sink` for the parts that together are `text` (valid UTF-8), in order.
void CutPieces(std::string_view text, const TextCuts& cuts, absl::FunctionRef<void(std::string_view)> sink);

}  // namespace quantmoe
