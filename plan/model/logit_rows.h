// How many rows of logits are held at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace quantmoe {

// Rows of `vocabulary` numbers that one step of scoring holds: enough for an efficient product with the head,
// and few megabytes. Larger tensors would be mapped, and zeroed by the kernel, again for every step.
constexpr int64_t LogitRows(int64_t vocabulary) {
  return std::max(int64_t{128}, (int64_t{4} << 20) / std::max<int64_t>(vocabulary, 1));
}

}  // namespace quantmoe
