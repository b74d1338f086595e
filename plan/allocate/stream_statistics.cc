#include "plan/allocate/stream_statistics.h"

#include <algorithm>

#include "base/json_number.h"
#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

using nlohmann::json;

template <typename T>
void Combine(const std::vector<T>& from, std::vector<T>& to, T (*combine)(T, T)) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) to[i] = combine(to[i], from[i]);
}

}  // namespace

void AddShard(const StreamStatistics& shard, StreamStatistics& sum) {
  const auto weight = static_cast<double>(shard.tokens), before = static_cast<double>(sum.tokens);
  sum.layer = shard.layer;
  sum.tokens += shard.tokens;
  if (sum.tokens > 0)
    sum.median_norm = (sum.median_norm * before + shard.median_norm * weight) / (before + weight);
  sum.largest_norm = std::max(sum.largest_norm, shard.largest_norm);
  sum.massive_tokens += shard.massive_tokens;
  sum.massive_starts += shard.massive_starts;
  if (shard.sink_share > sum.sink_share) {
    sum.sink_share = shard.sink_share;
    sum.sink_position = shard.sink_position;
  }
  sum.mlp_peak = std::max(sum.mlp_peak, shard.mlp_peak);
  Combine<double>(shard.expert_peaks, sum.expert_peaks, [](double a, double b) { return std::max(a, b); });
  Combine<int64_t>(shard.massive_routed, sum.massive_routed, [](int64_t a, int64_t b) { return a + b; });
}

json StreamStatisticsJson(const StreamStatistics& statistics) {
  return {{"layer", statistics.layer},
          {"tokens", statistics.tokens},
          {"median_norm", statistics.median_norm},
          {"largest_norm", statistics.largest_norm},
          {"massive_tokens", statistics.massive_tokens},
          {"massive_starts", statistics.massive_starts},
          {"sink_share", statistics.sink_share},
          {"sink_position", statistics.sink_position},
          {"expert_peaks", statistics.expert_peaks},
          {"mlp_peak", statistics.mlp_peak},
          {"massive_routed", statistics.massive_routed}};
}

StreamStatistics StreamStatisticsOf(const json& value) {
  return {IntegerAt<int>(value, "layer"),
          IntegerAt<int64_t>(value, "tokens"),
          value.at("median_norm").get<double>(),
          value.at("largest_norm").get<double>(),
          IntegerAt<int64_t>(value, "massive_tokens"),
          IntegerAt<int64_t>(value, "massive_starts"),
          value.at("sink_share").get<double>(),
          IntegerAt<int64_t>(value, "sink_position"),
          value.at("expert_peaks").get<std::vector<double>>(),
          value.at("mlp_peak").get<double>(),
          IntegersOf<int64_t>(value.at("massive_routed"))};
}

absl::StatusOr<StreamStatistics> StreamStatisticsFromJson(absl::string_view text) {
  return DecodeJson<StreamStatistics>(text, "statistics of a stream", StreamStatisticsOf);
}

}  // namespace quantmoe
