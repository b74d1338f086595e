#include "tests/quant/gptq/emulated_kernels.h"

#include <memory>

#include "quant/gptq/cuda/column_block.h"
#include "quant/gptq/cuda/group_fit.h"

namespace quantmoe {
namespace {

int FitGrid(const QuantmoeFitGrid* grid, int, void*) {
  const int64_t size = grid->group_size, groups = grid->in / size;
  for (int64_t matrix = 0; matrix < grid->matrices; ++matrix) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = matrix * grid->in + group * size;
      for (int64_t output = 0; output < grid->out; ++output) {
        const kernel::GroupFit fit(grid->weights + first * grid->out + output, grid->out,
                                   grid->importance + first, grid->group_size);
        for (int64_t width = 0; width < grid->widths; ++width) {
          grid->scales[((matrix * grid->widths + width) * groups + group) * grid->out + output] =
              fit.Scale(grid->bits[width], grid->rules[width]);
        }
      }
    }
  }
  return 0;
}

int SolveBlock(const QuantmoeSolveBlock* block, int, void*) {
  constexpr int kThreads = 5;  // any number that does not divide the block
  const auto triangle = std::make_unique<kernel::BlockTriangle>();
  for (int64_t matrix = 0; matrix < block->matrices; ++matrix) {
    for (int thread = 0; thread < kThreads; ++thread) {
      kernel::LoadTriangle(*block, matrix, thread, kThreads, *triangle);
    }
    for (int64_t n = 0; n < block->widths * block->out; ++n) {
      kernel::SolveColumns(*block, matrix, n, *triangle);
    }
  }
  return 0;
}

const char* ErrorText(int) { return "unknown"; }

}  // namespace

BatchKernels EmulatedKernels() { return {FitGrid, SolveBlock, ErrorText}; }

}  // namespace quantmoe
