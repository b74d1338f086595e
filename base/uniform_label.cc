#include "base/uniform_label.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {

std::string UniformLabel(int width, double average_bits, double spent) {
  // Plans that use up a budget differ by less.
  constexpr double kSame = 0.02;
  return absl::StrCat("uniform", width > 0 ? absl::StrCat("-", width) : "",
                      average_bits + kSame < spent ? " (fewer bytes)" : "");
}

}  // namespace quantmoe
