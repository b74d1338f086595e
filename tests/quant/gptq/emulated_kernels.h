// The GPU kernels (quant/gptq/cuda) on memory of the host: the same code for each thread, one thread after
// the other.
#pragma once

#include "quant/device/batch_kernels.h"

namespace quantmoe {

BatchKernels EmulatedKernels();

}  // namespace quantmoe
