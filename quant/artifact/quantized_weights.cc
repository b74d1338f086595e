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
  GptqTensors stored;
  ASSIGN_OR_RETURN(stored.qweight, Stored(linear.name + ".qweight"));
  ASSIGN_OR_RETURN(stored.qzeros, Stored(linear.name + ".qzeros"));
  ASSIGN_OR_RETURN(stored.scales, Stored(linear.name + ".scales"));
  const int64_t bits = stored.qweight.size(0) * 32 / linear.in, groups = stored.scales.size(0);
  if (bits < 2 || bits > 8 || groups == 0 || linear.in % groups != 0 || linear.out % 32 != 0 ||
      stored.qweight.sizes() != at::IntArrayRef({linear.in * bits / 32, linear.out}) ||
      stored.qzeros.sizes() != at::IntArrayRef({groups, linear.out * bits / 32}) ||
      stored.scales.size(1) != linear.out || linear.in * bits % 32 != 0) {
    return Invalid(absl::StrCat("the tensors of ", linear.name, " do not fit [", linear.out, ", ", linear.in,
                                "] at any width"));
  }
  return DequantizeStored(stored, static_cast<int>(bits));
}

}  // namespace quantmoe
