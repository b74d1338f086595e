#include "quant/model/weights.h"

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {

absl::StatusOr<at::Tensor> CheckpointWeights::Load(const TensorView& view) {
  ASSIGN_OR_RETURN(const at::Tensor stored, reader_.Read(view));
  at::Tensor tensor = stored.to(dtype_).contiguous();
  if (!at::isfinite(tensor.sum()).item<bool>() && !at::isfinite(tensor).all().item<bool>()) {
    const std::string& file = checkpoint_->Find(view.tensor)->file;
    return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                     absl::StrCat(file, ": tensor ", view.tensor, " holds NaN or infinite values"),
                     {{"tensor", view.tensor}, {"file", file}});
  }
  return tensor;
}

absl::StatusOr<at::Tensor> CheckpointWeights::LinearWeight(const Linear& linear) {
  ASSIGN_OR_RETURN(const TensorView view, WeightView(spec_, *checkpoint_, linear));
  return Load(view);
}

absl::StatusOr<at::Tensor> CheckpointWeights::LinearBias(const Linear& linear) {
  ASSIGN_OR_RETURN(const TensorView view, BiasView(spec_, *checkpoint_, linear));
  return Load(view);
}

absl::StatusOr<at::Tensor> CheckpointWeights::Tensor(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorView view, OtherView(spec_, *checkpoint_, name));
  return Load(view);
}

absl::StatusOr<LinearLayer> LoadLinear(WeightSource& source, const Linear& linear) {
  LinearLayer layer;
  ASSIGN_OR_RETURN(layer.weight, source.LinearWeight(linear));
  if (linear.bias) {
    ASSIGN_OR_RETURN(layer.bias, source.LinearBias(linear));
  }
  return layer;
}

at::Tensor Apply(const LinearLayer& linear, const at::Tensor& x) {
  if (!linear.bias.defined()) return at::mm(x, linear.weight.t());
  return at::addmm(linear.bias, x, linear.weight.t());
}

}  // namespace quantmoe
