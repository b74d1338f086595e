#include "plan/job/inspection.h"

#include <map>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/weight_file_sizes.h"
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "plan/model/model_files.h"
#include "plan/model/model_problems.h"
#include "plan/model/model_spec.h"
#include "plan/model/tensor_views.h"
#include "sources/checkpoint.h"

namespace quantmoe {
namespace {

using nlohmann::ordered_json;

absl::string_view RouterName(RouterKind kind) {
  switch (kind) {
    case RouterKind::kSoftmaxTopK:
      return "softmax_topk";
    case RouterKind::kTopKSoftmax:
      return "topk_softmax";
    case RouterKind::kDeepSeekV2:
      return "deepseek_v2";
    case RouterKind::kNoAuxTc:
      return "noaux_tc";
    case RouterKind::kSparseMixer:
      return "sparsemixer";
    case RouterKind::kTopKSigmoid:
      return "topk_sigmoid";
    case RouterKind::kBiasedSoftmax:
      return "biased_softmax";
  }
  return "";
}

ordered_json Experts(const ModelSpec& spec) {
  if (spec.moe.experts == 0) return nullptr;
  return {{"experts", spec.moe.experts},
          {"top_k", spec.moe.top_k},
          {"width", spec.moe.width},
          {"shared_width", spec.moe.shared_width},
          {"router", std::string(RouterName(spec.moe.router))}};
}

ordered_json QuantizedKinds(const ModelSpec& spec, const std::vector<Linear>& linears,
                            const Checkpoint& checkpoint) {
  struct Sum {
    int64_t linears = 0, weights = 0, bytes = 0;
  };
  std::map<LinearKind, Sum> sums;
  for (const Linear& linear : linears) {
    Sum& sum = sums[linear.kind];
    ++sum.linears;
    sum.weights += linear.weights();
    const absl::StatusOr<TensorView> view = WeightView(spec, checkpoint, linear);
    if (view.ok()) sum.bytes += StoredBytes(checkpoint, *view);
  }
  ordered_json kinds = ordered_json::object();
  for (const auto& [kind, sum] : sums) {
    kinds[std::string(LinearKindName(kind))] = {
        {"linears", sum.linears}, {"weights", sum.weights}, {"bytes", sum.bytes}};
  }
  return kinds;
}

// Why a tensor is not quantized.
absl::string_view KeptReason(const ModelSpec& spec, const std::string& name) {
  const auto has = [&](absl::string_view part) {
    return absl::string_view(name).find(part) != absl::string_view::npos;
  };
  if (!IsOfTextModel(spec, name)) return "not of the language model";
  if (IsOfExtraLayer(spec, name)) return "next-token prediction layer, not run";
  if (has("embed_tokens")) return "embedding";
  if (has("lm_head")) return "head";
  if (has("norm")) return "norm";
  if (has(".sinks")) return "attention sinks";
  if (has("shared_expert_gate") || has(".gate.") || has("router") || has("correction_bias") ||
      has("expert_bias"))
    return "router";
  if (has(".bias")) return "bias";
  return "not part of a quantized linear";
}

ordered_json KeptTensorsByReason(const ModelSpec& spec, const std::vector<TensorInfo>& kept) {
  std::map<std::string, std::pair<int64_t, int64_t>> sums;
  for (const TensorInfo& tensor : kept) {
    auto& [count, bytes] = sums[std::string(KeptReason(spec, tensor.name))];
    ++count;
    bytes += tensor.data_bytes();
  }
  ordered_json reasons = ordered_json::object();
  for (const auto& [reason, sum] : sums) reasons[reason] = {{"tensors", sum.first}, {"bytes", sum.second}};
  return reasons;
}

ordered_json Attention(const AttentionSpec& a) {
  ordered_json attention = {{"heads", a.heads}, {"kv_heads", a.kv_heads}, {"head_dim", a.head_dim}};
  if (a.mla) {
    attention["value_dim"] = a.value_dim;
    attention["q_lora_rank"] = a.q_lora;
    attention["kv_lora_rank"] = a.kv_lora;
  }
  return attention;
}

ordered_json Parts(const std::vector<Part>& parts) {
  std::map<std::string, int64_t> counts;
  for (const Part& part : parts) ++counts[std::string(PartKindName(part.kind))];
  return counts;
}

// Weight file bytes when every linear has the same width, by width.
ordered_json SizesByWidth(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept) {
  ordered_json sizes = ordered_json::object();
  for (const int group_size : {128, 64, 32}) {
    bool divides = true;
    for (const Linear& linear : linears) divides = divides && linear.in % group_size == 0;
    if (!divides) continue;
    sizes["group_size"] = group_size;
    const WeightFileSizes files(linears, kept, group_size);
    for (const int width : {2, 3, 4, 8}) {
      sizes[absl::StrCat(width)] = files.Bytes(std::vector<int>(linears.size(), width));
    }
    break;
  }
  return sizes;
}

bool IsLost(const std::string& tensor, const Checkpoint& checkpoint, const Checkpoint::Damage& damage) {
  return damage.lost.contains(tensor) || (damage.unlisted && checkpoint.Find(tensor) == nullptr);
}

// What the files lack, then what the tensors that are there do not fit.
absl::StatusOr<ordered_json> Problems(const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const Checkpoint::Damage& damage) {
  ordered_json problems = damage.problems;
  if (problems.is_null()) problems = ordered_json::array();
  for (const absl::Status& status : FindModelProblems(spec, checkpoint)) {
    if (IsRetryable(status)) return status;  // of the place where the model is
    const auto metadata = GetErrorInfo(status).metadata;
    const auto tensor = metadata.find("tensor");
    if (tensor != metadata.end() && IsLost(tensor->second, checkpoint, damage))
      continue;  // its file was named
    problems.push_back(std::string(status.message()));
  }
  if (DefaultGroupSize(ListLinears(spec)) == 0) {
    problems.push_back("no group size of 32, 64 or 128 divides the input width of every linear");
  }
  return problems;
}

}  // namespace

absl::StatusOr<std::string> InspectModel(std::shared_ptr<ModelDirectory> directory) {
  Checkpoint::Damage damage;
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, Checkpoint::OpenDamaged(directory, damage));
  ASSIGN_OR_RETURN(const std::string config, ReadModelConfig(*directory));
  ASSIGN_OR_RETURN(const ModelSpec spec, ParseModelConfig(config));
  const std::vector<Linear> linears = ListLinears(spec);
  const std::vector<TensorInfo> kept = KeptTensors(spec, *checkpoint);
  ASSIGN_OR_RETURN(ordered_json problems, Problems(spec, *checkpoint, damage));
  const ordered_json inspection = {{"model_type", spec.model_type},
                                   {"architecture", spec.architecture},
                                   {"layers", spec.num_layers()},
                                   {"hidden", spec.hidden},
                                   {"vocabulary", spec.vocab},
                                   {"context", spec.max_position},
                                   {"dtype", spec.dtype},
                                   {"attention", Attention(spec.attention)},
                                   {"moe", Experts(spec)},
                                   {"expert_storage", ExpertStorage(spec, *checkpoint)},
                                   {"tensors", checkpoint->tensors().size()},
                                   {"bytes", checkpoint->total_bytes()},
                                   {"parts", Parts(CutParts(spec))},
                                   {"quantized", QuantizedKinds(spec, linears, *checkpoint)},
                                   {"kept", KeptTensorsByReason(spec, kept)},
                                   {"artifact_bytes", SizesByWidth(linears, kept)},
                                   {"model_digest", checkpoint->header_digest()},
                                   {"problems", std::move(problems)}};
  return inspection.dump(2);
}

}  // namespace quantmoe
