#include "quant/artifact/gptqmodel_names.h"

#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"

namespace quantmoe {
namespace {

using Parts = std::vector<std::pair<absl::string_view, absl::string_view>>;

// MiniMax-M2 is not here: its definition in GPTQModel has the published names, of the model's own code.
const Parts& RenamedParts(absl::string_view model_type) {
  static const Parts kNone;
  static const Parts kMixtral = {
      {".block_sparse_moe.", ".mlp."}, {".w1", ".gate_proj"}, {".w3", ".up_proj"}, {".w2", ".down_proj"}};
  static const Parts kPhimoe = {{".block_sparse_moe.gate.", ".mlp.router."},
                                {".block_sparse_moe.", ".mlp."},
                                {".w1", ".gate_proj"},
                                {".w3", ".up_proj"},
                                {".w2", ".down_proj"}};
  static const Parts kHyV3 = {{".mlp.shared_mlp.", ".mlp.shared_experts."},
                              {".mlp.router.gate.", ".mlp.gate."},
                              {".mlp.expert_bias", ".mlp.e_score_correction_bias"}};
  if (model_type == "mixtral") return kMixtral;
  if (model_type == "phimoe") return kPhimoe;
  if (model_type == "hy_v3") return kHyV3;
  return kNone;
}

}  // namespace

std::string GptqModelName(absl::string_view model_type, absl::string_view name) {
  return absl::StrReplaceAll(name, RenamedParts(model_type));
}

}  // namespace quantmoe
