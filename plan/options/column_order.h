// In which order the columns of a linear are quantized; what is left of an error goes to the later ones. No
// order costs anything at run time.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace quantmoe {

enum class ColumnOrder {
  kNatural,     // as they are stored
  kActivation,  // descending diagonal of the Hessian; scales are fitted on the original weights before
  // Groups stay together, in descending order of their largest diagonal element, columns inside likewise. The
  // scales of a group are fitted when it is reached, on weights that have been compensated (GPTQModel's
  // group-aware order).
  kGroup,
};

constexpr std::array<absl::string_view, 3> ChoiceNames(ColumnOrder) {
  return {"natural", "activation", "group"};
}

}  // namespace quantmoe
