// The plainest quantizer: every weight to the nearest point of its group's grid. The floor that GPTQ has to
// beat, and what a linear gets whose inputs were not seen.
#pragma once

#include <ATen/core/Tensor.h>

#include "quant/gptq/grid.h"

namespace quantmoe {

struct QuantizedLinear {
  at::Tensor codes;       // [in, out] u8
  at::Tensor scales;      // [in / group_size, out] f16
  double distortion = 0;  // tr((W-Q) H (W-Q)^T); 0 where no H is known
};

// weight [out, in] f32 on the CPU, `in` a multiple of the group size.
QuantizedLinear RoundToNearest(const at::Tensor& weight, const GridOptions& grid);

// tr((W-Q) H (W-Q)^T), the quantity that GPTQ minimises (arXiv 2210.17323, eq. 1). error [out, in] and
// hessian [in, in], f32 on one device.
double Distortion(const at::Tensor& error, const at::Tensor& hessian);

}  // namespace quantmoe
