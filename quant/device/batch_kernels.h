// The kernels of a solve in batches (quant/gptq/batch_solver.h). They come from outside: on a GPU those of
// libquantmoe_cuda.so (quant/gptq/cuda), in tests the same code on the host.
#pragma once

#include "quant/gptq/cuda/kernels.h"

namespace quantmoe {

struct BatchKernels {
  QuantmoeFitGridFunction fit_grid;
  QuantmoeSolveBlockFunction solve_block;
  const char* (*error_text)(int error);
};

}  // namespace quantmoe
