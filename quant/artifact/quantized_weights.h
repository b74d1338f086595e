// Weight sources over quantized linears: the planned blobs of a job, or a published GPTQ directory. What is
// not quantized comes from the checkpoint.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/allocate/bit_plan.h"
#include "plan/model/gptq_source.h"
#include "quant/model/weights.h"
#include "quant/tensor_bytes.h"
#include "storage/blob_store.h"

namespace quantmoe {

// The linears of a plan, from the blobs that solve tasks wrote; the last opened blob stays open. Linears that
// are not in the plan keep their original weights. LinearWeight gives f32 for those in the plan; errors of
// GetTensors.
class PlannedWeights : public WeightSource {
 public:
  // `original` and `blobs` must outlive the source.
  PlannedWeights(const BitPlan& plan, WeightSource& original, BlobStore& blobs);

  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override;
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override {
    return original_.LinearBias(linear);
  }
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override { return original_.Tensor(name); }

 private:
  std::map<std::string, PlannedLinear> linears_;
  const int group_size_;
  WeightSource& original_;
  BlobStore& blobs_;
  Digest open_digest_;
  NamedTensors open_;
};

// A directory in GPTQ form, ours or another program's, without any of FindGptqProblems. INVALID_ARGUMENT
// MODEL_INVALID for a g_idx that names groups that there are not, and for zero points that `sym` denies. All
// is f32.
class GptqWeights : public WeightSource {
 public:
  GptqWeights(GptqSource source, ModelSpec spec, std::shared_ptr<const Checkpoint> checkpoint)
      : source_(std::move(source)), other_(std::move(spec), std::move(checkpoint), at::kFloat) {}

  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override;
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override { return other_.LinearBias(linear); }
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override { return other_.Tensor(name); }

 private:
  absl::StatusOr<at::Tensor> Stored(const std::string& name) const;
  absl::StatusOr<at::Tensor> GroupOfChannels(const Linear& linear, const GptqForm& form) const;

  const GptqSource source_;
  CheckpointWeights other_;
};

}  // namespace quantmoe
