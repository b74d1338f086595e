// Where a forward pass takes its weights from: the original checkpoint or a quantized form of it. The pass
// itself does not know. Tensors come one at a time and are dropped after use, so memory follows one part, not
// the model.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/linears.h"
#include "plan/model/tensor_views.h"
#include "quant/model/stored_tensor.h"
#include "sources/checkpoint.h"

namespace quantmoe {

// Errors: INVALID_ARGUMENT MODEL_INVALID for a tensor that is missing or not finite, and for a linear of
// another shape; INVALID_ARGUMENT MODEL_UNSUPPORTED for a dtype or an encoding that cannot be computed with;
// those of the checkpoint or of the blobs that are read. Thread-compatible.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The weight of a linear, [out, in], in the dtype of the computation.
  virtual absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) = 0;
  // The bias of a linear that has one, [out], in the same dtype.
  virtual absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) = 0;
  // A tensor that is no linear (norm, router, embedding, head) by its published name and in its published
  // shape, in the same dtype.
  virtual absl::StatusOr<at::Tensor> Tensor(const std::string& name) = 0;
};

// The original weights, in whatever form they are stored (plan/model/tensor_views.h), as `dtype`.
class CheckpointWeights : public WeightSource {
 public:
  CheckpointWeights(ModelSpec spec, std::shared_ptr<const Checkpoint> checkpoint, at::ScalarType dtype)
      : spec_(std::move(spec)), checkpoint_(std::move(checkpoint)), reader_(*checkpoint_), dtype_(dtype) {}

  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override;
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override;
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override;

  const Checkpoint& checkpoint() const { return *checkpoint_; }

 private:
  absl::StatusOr<at::Tensor> Load(const TensorView& view);

  ModelSpec spec_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  ViewReader reader_;
  at::ScalarType dtype_;
};

// y = x W^T + b.
struct LinearLayer {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out] or undefined
};
// Errors of `source`.
absl::StatusOr<LinearLayer> LoadLinear(WeightSource& source, const Linear& linear);
// x [rows, in] -> [rows, out]; both and the linear have one dtype.
at::Tensor Apply(const LinearLayer& linear, const at::Tensor& x);

}  // namespace quantmoe
