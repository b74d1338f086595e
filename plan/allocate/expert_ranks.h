// Which expert-parallel rank holds which expert, and what every rank loads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/status/status.h"

#include "plan/model/linears.h"
#include "storage/safetensors.h"

namespace quantmoe {

// The rank of what is replicated on all of them.
inline constexpr int kEveryRank = -1;

// Experts are split over the ranks in runs of equal length, the first run to rank 0; everything else is on
// every rank. That is how vLLM and SGLang place experts without redundancy.
class ExpertRanks {
 public:
  ExpertRanks(const std::vector<Linear>& linears, int ranks);

  // INVALID_FIELD unless every MoE layer has a whole number of experts for each rank, and there is one at
  // all.
  absl::Status Check() const;
  // kEveryRank for what is replicated.
  int RankOf(const Linear& linear) const;
  int ranks() const { return ranks_; }

 private:
  const int ranks_;
  std::map<int, int> experts_;  // of each MoE layer
};

// Tensor bytes that the rank with the most of them holds; headers do not count. `kept` are the tensors that
// stay unquantized; those of an expert are on its rank.
int64_t FullestRankBytes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                         const std::function<int(const Linear&)>& width_of, int group_size,
                         const ExpertRanks& ranks);

// Tensor bytes of the packed linear.
int64_t PackedBytes(const Linear& linear, int width, int group_size);

}  // namespace quantmoe
