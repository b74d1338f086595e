#include "quant/artifact/quantized_weights.h"

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/model/tensor_views.h"
#include "quant/gptq/packing.h"

namespace quantmoe {

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
  const at::Tensor codes = UnpackRows(open_.at(linear.name + ".qweight"), planned.width);
  return Dequantize(codes, open_.at(linear.name + ".scales"), planned.width, group_size_);
}

absl::StatusOr<at::Tensor> GptqWeights::Stored(const std::string& name) const {
  ASSIGN_OR_RETURN(const MappedFile bytes, other_.checkpoint().Read(name));
  return TensorFromBytes(other_.checkpoint().Find(name)->info, bytes);
}

// [in]: the stored index, or runs of the group size.
absl::StatusOr<at::Tensor> GptqWeights::GroupOfChannels(const Linear& linear, const GptqForm& form) const {
  const std::string name = linear.name + ".g_idx";
  if (other_.checkpoint().Find(name) == nullptr)
    return at::div(at::arange(linear.in, at::kInt), form.group_size, "floor");
  ASSIGN_OR_RETURN(const at::Tensor index, Stored(name));
  const int64_t first = index.min().item<int64_t>(), last = index.max().item<int64_t>();
  if (first >= 0 && last < form.groups) return index;
  return TensorError(other_.checkpoint(), name,
                     absl::StrCat("names groups from ", first, " to ", last, " of ", form.groups));
}

absl::StatusOr<at::Tensor> GptqWeights::LinearWeight(const Linear& linear) {
  ASSIGN_OR_RETURN(const std::optional<GptqForm> form, FormOf(source_, other_.checkpoint(), linear));
  if (!form) return other_.LinearWeight(linear);
  GptqTensors stored;
  ASSIGN_OR_RETURN(stored.qweight, Stored(linear.name + ".qweight"));
  ASSIGN_OR_RETURN(stored.qzeros, Stored(linear.name + ".qzeros"));
  ASSIGN_OR_RETURN(stored.scales, Stored(linear.name + ".scales"));
  ASSIGN_OR_RETURN(const at::Tensor group_of, GroupOfChannels(linear, *form));
  const int less = source_.zeros_less_one ? 1 : 0;
  // Kernels for symmetric linears never look at the zero points, so that others would give other weights.
  if (form->symmetric && !stored.qzeros.equal(SymmetricZeros(form->groups, linear.out, form->width, less))) {
    return TensorError(other_.checkpoint(), linear.name + ".qzeros",
                       absl::StrCat("has zero points other than ", 1 << (form->width - 1),
                                    ", but quantization_config says `sym`"));
  }
  at::Tensor weight = DequantizeStored(stored, form->width, group_of, less);
  if (at::isfinite(weight).all().item<bool>()) return weight;
  return TensorError(other_.checkpoint(), linear.name + ".scales", "holds NaN or infinite values");
}

}  // namespace quantmoe
