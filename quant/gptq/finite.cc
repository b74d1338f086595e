#include "quant/gptq/finite.h"

#include <atomic>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "quant/gptq/simd.h"

namespace quantmoe {
namespace {

// Zero times a finite number is zero; times anything else it is NaN, which no later sum removes.
QUANTMOE_SIMD bool RunIsFinite(const float* values, int64_t count) {
  constexpr int kSums = 64;
  float sums[kSums] = {};
  const int64_t whole = count / kSums * kSums;
  for (int64_t i = 0; i < whole; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += values[i + j] * 0.0f;
  }
  float total = 0;
  for (int64_t i = whole; i < count; ++i) total += values[i] * 0.0f;
  for (const float sum : sums) total += sum;
  return total == 0.0f;
}

}  // namespace

bool AllFinite(const at::Tensor& matrix) {
  TORCH_CHECK_VALUE(matrix.is_contiguous() && matrix.scalar_type() == at::kFloat,
                    "AllFinite needs a contiguous f32 tensor");
  const float* values = matrix.const_data_ptr<float>();
  std::atomic<bool> finite = true;
  at::parallel_for(0, matrix.numel(), /*grain_size=*/1 << 18, [&](int64_t begin, int64_t end) {
    if (!RunIsFinite(values + begin, end - begin)) finite = false;
  });
  return finite;
}

}  // namespace quantmoe
