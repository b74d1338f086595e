#include "quant/artifact/quantized_weights.h"

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/packing.h"

namespace quantmoe {
namespace {

absl::Status Invalid(const std::string& message) {
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID", message);
}

}  // namespace

PlannedWeights::PlannedWeights(const BitPlan& plan, WeightSource& original, BlobStore& blobs)
    : group_size_(plan.group_size), original_(original), blobs_(blobs) {
  for (const PlannedLinear& planned : plan.linears) linears_[planned.linear.name] = planned;
}

absl::StatusOr<at::Tensor> PlannedWeights::LinearWeight(const Linear& linear) {
  const auto found = linears_.find(linear.name);
  if (found == linears_.end()) return original_.LinearWeight(linear);
  const PlannedLinear& planned = found->second;
  if (open_digest_ != planned.blob) {
    ASSIGN_OR_RETURN(open_, GetTensors(blobs_, planned.blob));
    open_digest_ = planned.blob;
  }
  const at::Tensor codes = UnpackRows(open_.at(linear.name + ".qweight"), planned.bits);
  return Dequantize(codes, open_.at(linear.name + ".scales"), planned.bits, group_size_);
}

absl::StatusOr<at::Tensor> GptqWeights::Stored(const std::string& name) const {
  ASSIGN_OR_RETURN(const MappedFile bytes, other_.checkpoint().Read(name));
  return TensorFromBytes(other_.checkpoint().Find(name)->info, bytes);
}

absl::StatusOr<at::Tensor> GptqWeights::LinearWeight(const Linear& linear) {
  if (other_.checkpoint().Find(linear.name + ".weight") != nullptr) return other_.LinearWeight(linear);
  ASSIGN_OR_RETURN(const at::Tensor qweight, Stored(linear.name + ".qweight"));
  ASSIGN_OR_RETURN(const at::Tensor scales, Stored(linear.name + ".scales"));
  const int64_t bits = qweight.size(0) * 32 / linear.in;
  if (qweight.size(0) * 32 != bits * linear.in || bits < 2 || bits > 8 || qweight.size(1) != linear.out ||
      scales.size(0) == 0 || linear.in % scales.size(0) != 0) {
    return Invalid(absl::StrCat("tensor ", linear.name, ".qweight: shape does not fit [", linear.out, ", ",
                                linear.in, "]"));
  }
  const int width = static_cast<int>(bits);
  return Dequantize(UnpackRows(qweight, width), scales, width, static_cast<int>(linear.in / scales.size(0)));
}

}  // namespace quantmoe
