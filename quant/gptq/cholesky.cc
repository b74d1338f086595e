#include "quant/gptq/cholesky.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "quant/gptq/vector_kernels.h"

namespace quantmoe {
namespace {

// Columns that are brought up to date by one large product, and columns that are factored together in it.
constexpr int64_t kPanel = 512;
constexpr int kBlock = kTriangle;
static_assert(kPanel % kBlock == 0);

// A diagonal block of at most kBlock columns in f64: A = V V^T, then V^-1.
class DiagonalBlock {
 public:
  DiagonalBlock() : v_(kBlock * kBlock), inverse_(kBlock * kBlock) {}

  // Replaces the upper triangle of the n x n block `a` (row stride `stride`) by V. False when it is not
  // positive definite.
  bool Factor(float* a, int64_t stride, int n) {
    std::fill(v_.begin(), v_.end(), 0.0);
    std::fill(inverse_.begin(), inverse_.end(), 0.0);
    for (int i = 0; i < n; ++i) {
      // Transposed, so that a column of V is a row here.
      for (int j = i; j < n; ++j) v_[Index(j, i)] = a[i * stride + j];
    }
    if (!Kernels().factor_transposed(v_.data(), n)) return false;
    for (int i = 0; i < n; ++i) {
      for (int j = i; j < n; ++j) a[i * stride + j] = static_cast<float>(v_[Index(j, i)]);
    }
    Kernels().invert_transposed(v_.data(), n, inverse_.data());
    return true;
  }

  // V^-T, lower triangular, [n, n].
  at::Tensor InverseTransposed(int n) const {
    at::Tensor result = at::empty({n, n}, at::kFloat);
    float* to = result.data_ptr<float>();
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) to[i * n + j] = static_cast<float>(inverse_[Index(i, j)]);
    }
    return result;
  }

 private:
  static size_t Index(int row, int column) { return static_cast<size_t>(row * kBlock + column); }

  std::vector<double> v_, inverse_;
};

at::Tensor Region(at::Tensor& matrix, int64_t row_begin, int64_t row_end, int64_t column_begin,
                  int64_t column_end) {
  return matrix.slice(0, row_begin, row_end).slice(1, column_begin, column_end);
}

// Subtracts what the columns [from, to), already factored, add to the upper triangle of columns [begin, end).
void SubtractProducts(at::Tensor& matrix, int64_t begin, int64_t end, int64_t from, int64_t to) {
  if (from == to) return;
  const auto update = [&](int64_t row_begin, int64_t row_end, int64_t column_begin) {
    Region(matrix, row_begin, row_end, column_begin, end)
        .addmm_(Region(matrix, row_begin, row_end, from, to), Region(matrix, column_begin, end, from, to).t(),
                /*beta=*/1, /*alpha=*/-1);
  };
  if (begin > 0) update(0, begin, begin);
  // Stripes, so that little is computed below the diagonal.
  for (int64_t row = begin; row < end; row += kBlock) update(row, std::min(row + kBlock, end), row);
}

}  // namespace

bool FactorUpper(at::Tensor& matrix) {
  TORCH_CHECK_VALUE(matrix.dim() == 2 && matrix.size(0) == matrix.size(1) && matrix.is_contiguous() &&
                        matrix.scalar_type() == at::kFloat,
                    "FactorUpper needs a square contiguous f32 matrix");
  const int64_t n = matrix.size(0);
  DiagonalBlock diagonal;
  for (int64_t panel_end = n; panel_end > 0;) {
    const int64_t panel = (panel_end - 1) / kPanel * kPanel;
    SubtractProducts(matrix, panel, panel_end, panel_end, n);
    for (int64_t end = panel_end; end > panel;) {
      const int64_t begin = (end - 1) / kBlock * kBlock;
      const int size = static_cast<int>(end - begin);
      SubtractProducts(matrix, begin, end, end, panel_end);
      if (!diagonal.Factor(matrix.data_ptr<float>() + begin * n + begin, n, size)) return false;
      if (begin > 0) {
        at::Tensor above = Region(matrix, 0, begin, begin, end);
        above.copy_(at::mm(above, diagonal.InverseTransposed(size)));
      }
      end = begin;
    }
    panel_end = panel;
  }
  return true;
}

}  // namespace quantmoe
