#include "quant/gptq/finite.h"

#include <atomic>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "quant/gptq/vector_kernels.h"

namespace quantmoe {

bool AllFinite(const at::Tensor& matrix) {
  TORCH_CHECK_VALUE(matrix.is_contiguous() && matrix.scalar_type() == at::kFloat,
                    "AllFinite needs a contiguous f32 tensor");
  const float* values = matrix.const_data_ptr<float>();
  std::atomic<bool> finite = true;
  at::parallel_for(0, matrix.numel(), /*grain_size=*/1 << 18, [&](int64_t begin, int64_t end) {
    if (!Kernels().row_is_finite(values + begin, end - begin)) finite = false;
  });
  return finite;
}

}  // namespace quantmoe
