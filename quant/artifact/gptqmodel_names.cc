#include "quant/artifact/gptqmodel_names.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"

namespace quantmoe {
namespace {

using Parts = std::vector<std::pair<absl::string_view, absl::string_view>>;

// MiniMax-M2 is not here: its definition in GPTQModel has the published names, of the model's own code.
const std::map<absl::string_view, Parts>& RenamedParts() {
  static const auto* const kByModelType = new std::map<absl::string_view, Parts>{
      {"hy_v3",
       {{".mlp.shared_mlp.", ".mlp.shared_experts."},
        {".mlp.router.gate.", ".mlp.gate."},
        {".mlp.expert_bias", ".mlp.e_score_correction_bias"}}},
      {"mixtral",
       {{".block_sparse_moe.", ".mlp."}, {".w1", ".gate_proj"}, {".w3", ".up_proj"}, {".w2", ".down_proj"}}},
      {"phimoe",
       {{".block_sparse_moe.gate.", ".mlp.router."},
        {".block_sparse_moe.", ".mlp."},
        {".w1", ".gate_proj"},
        {".w3", ".up_proj"},
        {".w2", ".down_proj"}}}};
  return *kByModelType;
}

}  // namespace

std::string GptqModelName(absl::string_view model_type, absl::string_view name) {
  const auto found = RenamedParts().find(model_type);
  return found == RenamedParts().end() ? std::string(name) : absl::StrReplaceAll(name, found->second);
}

}  // namespace quantmoe
