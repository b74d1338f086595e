#include "quant/model/weights.h"

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {

absl::StatusOr<at::Tensor> CheckpointWeights::Other(const std::string& name) {
  ASSIGN_OR_RETURN(const MappedFile bytes, checkpoint_->Read(name));
  ASSIGN_OR_RETURN(const at::Tensor stored, TensorFromBytes(checkpoint_->Find(name)->info, bytes));
  at::Tensor tensor = stored.to(dtype_);
  if (!at::isfinite(tensor.sum()).item<bool>() && !at::isfinite(tensor).all().item<bool>()) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
        absl::StrCat(checkpoint_->Find(name)->file, ": tensor ", name, " holds NaN or infinite values"));
  }
  return tensor;
}

absl::StatusOr<at::Tensor> CheckpointWeights::LinearWeight(const Linear& linear) {
  return Other(absl::StrCat(linear.name, ".weight"));
}

absl::StatusOr<LinearLayer> LoadLinear(WeightSource& source, const Linear& linear) {
  LinearLayer layer;
  ASSIGN_OR_RETURN(layer.weight, source.LinearWeight(linear));
  if (linear.bias) {
    ASSIGN_OR_RETURN(layer.bias, source.Other(absl::StrCat(linear.name, ".bias")));
  }
  return layer;
}

at::Tensor Apply(const LinearLayer& linear, const at::Tensor& x) {
  if (!linear.bias.defined()) return at::mm(x, linear.weight.t());
  return at::addmm(linear.bias, x, linear.weight.t());
}

}  // namespace quantmoe
