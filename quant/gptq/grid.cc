#include "quant/gptq/grid.h"

#include <algorithm>
#include <vector>

#include <ATen/Parallel.h>

#include "quant/gptq/vector_kernels.h"

namespace quantmoe {
void FitGrid(const float* weights, const float* importance, int64_t in, int64_t out,
             const GridOptions& options, float* scales) {
  const int size = options.group_size;
  const std::vector<float> ones(importance == nullptr ? static_cast<size_t>(in) : 0, 1.0f);
  const float* h = importance == nullptr ? ones.data() : importance;
  const int64_t tiles = (out + kFitOutputs - 1) / kFitOutputs;
  at::parallel_for(0, (in / size) * tiles, /*grain_size=*/4, [&](int64_t begin, int64_t end) {
    std::vector<float> tile(static_cast<size_t>(size) * kFitOutputs);
    float fitted[kFitOutputs];
    for (int64_t job = begin; job < end; ++job) {
      const int64_t group = job / tiles, column = job % tiles * kFitOutputs;
      const int count = static_cast<int>(std::min<int64_t>(kFitOutputs, out - column));
      std::fill(tile.begin(), tile.end(), 0.0f);
      for (int i = 0; i < size; ++i) {
        const float* row = weights + (group * size + i) * out + column;
        std::copy(row, row + count, &tile[static_cast<size_t>(i) * kFitOutputs]);
      }
      Kernels().fit_run(tile.data(), h + group * size, options, fitted);
      std::copy(fitted, fitted + count, scales + group * out + column);
    }
  });
}

}  // namespace quantmoe
