#include "quant/tasks/shard_scoring.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/model/likelihood.h"

namespace quantmoe {
namespace {

// All sequences of a shard as one flat activation.
struct FlatShard {
  std::vector<int64_t> ids;
  Batches batches;
  std::vector<int64_t> first_row;  // of each sequence
};

FlatShard Flatten(const EvalShard& shard) {
  FlatShard flat;
  flat.first_row.resize(shard.sequences.size());
  for (const std::vector<int>& batch : MakeBatches(shard)) {
    int64_t longest = 0;
    for (const int s : batch)
      longest = std::max(longest, static_cast<int64_t>(shard.sequences[static_cast<size_t>(s)].ids.size()));
    flat.batches.push_back({static_cast<int64_t>(batch.size()), longest});
    for (const int s : batch) {
      const std::vector<int32_t>& ids = shard.sequences[static_cast<size_t>(s)].ids;
      flat.first_row[static_cast<size_t>(s)] = static_cast<int64_t>(flat.ids.size());
      flat.ids.insert(flat.ids.end(), ids.begin(), ids.end());
      flat.ids.resize(flat.ids.size() + static_cast<size_t>(longest) - ids.size(), ids.back());
    }
  }
  return flat;
}

// Sums the tokens of each target.
ShardScores Sum(const EvalShard& shard, const std::vector<TokenScore>& tokens) {
  ShardScores scores;
  size_t next = 0;
  for (const EvalSequence& sequence : shard.sequences) {
    for (const EvalTarget& target : sequence.targets) {
      TargetScore score{0.0, true};
      for (size_t i = 0; i < target.tokens.size(); ++i, ++next) {
        score.log_likelihood += tokens[next].log_probability;
        score.greedy = score.greedy && tokens[next].is_argmax;
      }
      scores.push_back(score);
    }
  }
  return scores;
}

}  // namespace

absl::StatusOr<ShardScores> ScoreShard(const EvalShard& shard, const ModelSpec& spec, WeightSource& weights,
                                       const std::function<absl::Status(int done, int layers)>& after_layer) {
  const FlatShard flat = Flatten(shard);
  const int layers = static_cast<int>(spec.num_layers());
  ASSIGN_OR_RETURN(const at::Tensor hidden,
                   RunModel(spec, at::tensor(flat.ids, at::kLong), flat.batches, weights,
                            [&](int layer, const at::Tensor&) { return after_layer(layer + 1, layers); }));
  std::vector<int64_t> rows, tokens;
  for (size_t s = 0; s < shard.sequences.size(); ++s) {
    for (const EvalTarget& target : shard.sequences[s].targets) {
      for (size_t i = 0; i < target.tokens.size(); ++i) {
        rows.push_back(flat.first_row[s] + target.start + static_cast<int64_t>(i));
        tokens.push_back(target.tokens[i]);
      }
    }
  }
  ASSIGN_OR_RETURN(const OutputHead head, OutputHead::Load(spec, weights));
  ASSIGN_OR_RETURN(const std::vector<TokenScore> scores, ScoreTokens(head, hidden, rows, tokens));
  return Sum(shard, scores);
}

}  // namespace quantmoe
