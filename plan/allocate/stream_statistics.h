// What calibration tokens showed in the residual stream behind a layer: massive activations (Sun et al.,
// arXiv 2402.17762), the tokens that receive most of the attention, and the largest outputs of MLPs. Written
// by forward tasks, read by allocation and the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <nlohmann/json_fwd.hpp>

namespace quantmoe {

// A token is massive when the norm of its stream is so many times the median of its shard.
inline constexpr double kMassiveRatio = 20;

struct StreamStatistics {
  int layer = 0;
  int64_t tokens = 0;
  double median_norm = 0;   // of a token's stream; of several shards the mean, weighted by their tokens
  double largest_norm = 0;  // of any token
  int64_t massive_tokens = 0;
  int64_t massive_starts = 0;  // of them the first of their sequence
  // The largest share of all attention of a sequence that went to one token, mean over heads, and the
  // position of that token. Of the first tokens of each shard's first sequence.
  double sink_share = 0;
  int64_t sink_position = 0;
  // The largest |output of the down projection|: of each routed expert, 0 for one without tokens, and of the
  // dense or shared MLP, 0 where there is none.
  std::vector<double> expert_peaks;
  double mlp_peak = 0;
  std::vector<int64_t> massive_routed;  // [experts], massive tokens that each was given
};

// Adds what another shard showed of the same layer, in the order of the shards.
void AddShard(const StreamStatistics& shard, StreamStatistics& sum);

nlohmann::json StreamStatisticsJson(const StreamStatistics& statistics);
// Throws what nlohmann::json throws for a value that is none.
StreamStatistics StreamStatisticsOf(const nlohmann::json& value);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<StreamStatistics> StreamStatisticsFromJson(absl::string_view json);

}  // namespace quantmoe
