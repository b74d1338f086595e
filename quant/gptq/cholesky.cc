#include "quant/gptq/cholesky.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "quant/gptq/simd.h"

namespace quantmoe {
namespace {

// Columns that are brought up to date by one large product, and columns that are factored together in it.
constexpr int64_t kPanel = 512;
constexpr int kBlock = 128;
static_assert(kPanel % kBlock == 0);
constexpr int kStep = 8;

// y[0..n) -= factor * x[0..n). Reads and writes up to the next multiple of kStep.
inline void Subtract(double factor, const double* __restrict x, int n, double* __restrict y) {
  for (int j = 0; j < n; j += kStep) {
    for (int step = 0; step < kStep; ++step) y[j + step] -= factor * x[j + step];
  }
}

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
    if (!FactorTransposed(v_.data(), n)) return false;
    for (int i = 0; i < n; ++i) {
      for (int j = i; j < n; ++j) a[i * stride + j] = static_cast<float>(v_[Index(j, i)]);
    }
    InvertTransposed(v_.data(), n, inverse_.data());
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

  // `l` holds L = V^T below and on its diagonal, row-major, and zeros above. The columns of V are taken from
  // the last to the first, because V is upper triangular.
  QUANTMOE_SIMD static bool FactorTransposed(double* l, int n) {
    for (int i = n - 1; i >= 0; --i) {
      double* column = l + i * kBlock;
      if (!(column[i] > 0.0) || !std::isfinite(column[i])) return false;
      const double pivot = std::sqrt(column[i]);
      for (int j = 0; j < i; ++j) column[j] /= pivot;
      column[i] = pivot;
      // A[j, k] -= V[j, i] V[k, i] for the columns before i, of which the part k <= j is kept.
      for (int j = 0; j < i; ++j) {
        double* row = l + j * kBlock;
        Subtract(column[j], column, j + 1, row);
        for (int k = j + 1; k % kStep != 0; ++k) row[k] = 0.0;
      }
    }
    return true;
  }

  // X = L^-1 by forward substitution, row after row.
  QUANTMOE_SIMD static void InvertTransposed(const double* l, int n, double* x) {
    for (int i = 0; i < n; ++i) {
      double* row = x + i * kBlock;
      for (int j = 0; j < i; ++j) Subtract(l[i * kBlock + j], x + j * kBlock, j + 1, row);
      row[i] += 1.0;
      for (int j = 0; j <= i; ++j) row[j] /= l[i * kBlock + i];
    }
  }

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
