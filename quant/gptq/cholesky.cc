#include "quant/gptq/cholesky.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

constexpr int64_t kBlock = 128;

// Factors the n x n block `a` (row stride `stride`) as V V^T and gives V^-1 (upper, row-major n x n, f32).
// The columns are taken from the last to the first, because V is upper triangular.
bool FactorBlock(float* a, int64_t stride, int64_t n, std::vector<float>& inverse) {
  std::vector<double> v(static_cast<size_t>(n * n), 0.0);
  for (int64_t i = n - 1; i >= 0; --i) {
    double* vi = &v[static_cast<size_t>(i * n)];
    double pivot = a[i * stride + i];
    for (int64_t j = i + 1; j < n; ++j) pivot -= vi[j] * vi[j];
    if (!(pivot > 0.0) || !std::isfinite(pivot)) return false;
    vi[i] = std::sqrt(pivot);
    for (int64_t k = 0; k < i; ++k) {
      double* vk = &v[static_cast<size_t>(k * n)];
      double sum = a[k * stride + i];
      for (int64_t j = i + 1; j < n; ++j) sum -= vk[j] * vi[j];
      vk[i] = sum / vi[i];
    }
  }
  std::vector<double> x(static_cast<size_t>(n * n), 0.0);
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t r = c; r >= 0; --r) {
      double sum = r == c ? 1.0 : 0.0;
      for (int64_t j = r + 1; j <= c; ++j)
        sum -= v[static_cast<size_t>(r * n + j)] * x[static_cast<size_t>(j * n + c)];
      x[static_cast<size_t>(r * n + c)] = sum / v[static_cast<size_t>(r * n + r)];
    }
  }
  inverse.resize(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      a[i * stride + j] = static_cast<float>(v[static_cast<size_t>(i * n + j)]);
      inverse[static_cast<size_t>(i * n + j)] = static_cast<float>(x[static_cast<size_t>(i * n + j)]);
    }
  }
  return true;
}

}  // namespace

bool FactorUpper(at::Tensor& matrix) {
  TORCH_CHECK_VALUE(matrix.dim() == 2 && matrix.size(0) == matrix.size(1) && matrix.is_contiguous() &&
                        matrix.scalar_type() == at::kFloat,
                    "FactorUpper needs a square contiguous f32 matrix");
  const int64_t n = matrix.size(0);
  std::vector<float> inverse;
  for (int64_t end = n; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock;
    at::Tensor panel = matrix.slice(0, 0, end).slice(1, begin, end);
    if (end < n) {
      panel.addmm_(matrix.slice(0, 0, end).slice(1, end, n), matrix.slice(0, begin, end).slice(1, end, n).t(),
                   /*beta=*/1, /*alpha=*/-1);
    }
    float* diagonal = matrix.data_ptr<float>() + begin * n + begin;
    if (!FactorBlock(diagonal, n, end - begin, inverse)) return false;
    if (begin > 0) {
      const at::Tensor inverse_t = at::from_blob(inverse.data(), {end - begin, end - begin}, at::kFloat).t();
      at::Tensor above = matrix.slice(0, 0, begin).slice(1, begin, end);
      above.copy_(at::mm(above, inverse_t));
    }
    end = begin;
  }
  matrix.triu_();
  return true;
}

}  // namespace quantmoe
