#include "plan/allocate/expert_ranks.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/allocate/artifact_size.h"

namespace quantmoe {

ExpertRanks::ExpertRanks(const std::vector<Linear>& linears, int ranks) : ranks_(ranks) {
  for (const Linear& linear : linears) {
    if (!IsExpert(linear.kind)) continue;
    int& experts = experts_[linear.layer];
    experts = std::max(experts, linear.expert + 1);
  }
}

absl::Status ExpertRanks::Check() const {
  std::vector<FieldViolation> violations;
  if (experts_.empty() && ranks_ > 1) {
    violations.push_back({"spec.budget.rank_bytes.ranks", "the model has no experts to split"});
  }
  for (const auto& [layer, experts] : experts_) {
    if (experts % ranks_ == 0) continue;
    violations.push_back(
        {"spec.budget.rank_bytes.ranks",
         absl::StrCat("is ", ranks_, ", which does not divide the ", experts, " experts of layer ", layer)});
    break;
  }
  return InvalidFields(std::move(violations));
}

int ExpertRanks::RankOf(const Linear& linear) const {
  if (!IsExpert(linear.kind)) return kEveryRank;
  return linear.expert * ranks_ / experts_.at(linear.layer);
}

int64_t FullestRankBytes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                         const std::function<int(const Linear&)>& width_of, int group_size,
                         const ExpertRanks& ranks) {
  std::vector<int64_t> own(static_cast<size_t>(ranks.ranks()));
  absl::flat_hash_map<std::string, int> rank_of_bias;
  int64_t everywhere = 0;
  for (const Linear& linear : linears) {
    const int rank = ranks.RankOf(linear);
    (rank == kEveryRank ? everywhere : own[static_cast<size_t>(rank)]) +=
        PackedBytes(linear, width_of(linear), group_size);
    if (linear.bias) rank_of_bias[linear.name + ".bias"] = rank;
  }
  for (const TensorInfo& tensor : kept) {
    const auto bias = rank_of_bias.find(tensor.name);
    const int rank = bias == rank_of_bias.end() ? kEveryRank : bias->second;
    (rank == kEveryRank ? everywhere : own[static_cast<size_t>(rank)]) += tensor.data_bytes();
  }
  return everywhere + *std::max_element(own.begin(), own.end());
}

int64_t PackedBytes(const Linear& linear, int width, int group_size) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : PackedTensors(linear, width, group_size)) {
    bytes += tensor.data_bytes();
  }
  return bytes;
}

}  // namespace quantmoe
