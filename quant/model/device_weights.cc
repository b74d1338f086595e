#include "quant/model/device_weights.h"

#include <ATen/ATen.h>

#include "base/status_macros.h"

namespace quantmoe {

absl::StatusOr<at::Tensor> DeviceWeights::LinearWeight(const Linear& linear) {
  ASSIGN_OR_RETURN(const at::Tensor weight, source_.LinearWeight(linear));
  return upload_(weight);
}

absl::StatusOr<at::Tensor> DeviceWeights::LinearBias(const Linear& linear) {
  ASSIGN_OR_RETURN(const at::Tensor bias, source_.LinearBias(linear));
  return upload_(bias);
}

absl::StatusOr<at::Tensor> DeviceWeights::Tensor(const std::string& name) {
  ASSIGN_OR_RETURN(const at::Tensor tensor, source_.Tensor(name));
  return upload_(tensor);
}

}  // namespace quantmoe
