#include "quant/gptq/block_triangle.h"

namespace quantmoe {

void BlockTriangle::Pack(const float* upper, int64_t stride, const double* added, int size) {
  size_ = size;
  packed_.assign(kBlockColumns * kBlockColumns, 0.0f);
  pivots_.resize(kBlockColumns);
  inverse_pivots_.resize(kBlockColumns);
  added_.resize(kBlockColumns);
  for (int i = 0; i < size; ++i) {
    const size_t at = static_cast<size_t>(i);
    pivots_[at] = upper[i * stride + i];
    inverse_pivots_[at] = 1.0f / pivots_[at];
    added_[at] = static_cast<float>(added[i]);
    float* panel = packed_.data() + i / kPanelColumns * kPanelColumns * kBlockColumns + i % kPanelColumns;
    for (int k = 0; k < i; ++k) panel[k * kPanelColumns] = upper[k * stride + i] / pivots_[at];
  }
}

}  // namespace quantmoe
