// The fixed cut of an evaluation into shards, the batches of a shard, and the bytes of a `requests` blob.
// Neither depends on workers or devices: a shard is what one task scores, and sums run in shard order.
//
// Blob: one JSON object in UTF-8, {"format": "quantmoe.requests", "version": 2, "tasks": [[name, scoring],
// ...], "truncated": n, "sequences": [[ids, [[start, tokens, task, item, choice, choices, gold, length,
// words, group], ...]], ...]}; scoring is "accuracy", "normalized_accuracy", "last_word", "rolling" or
// "windows". It holds all that scoring needs (quant/evaluate/scores.h); readers refuse any other version.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "quant/evaluate/requests.h"

namespace quantmoe {

inline constexpr int64_t kShardTokens = 32768;
inline constexpr int64_t kBatchTokens = 8192;  // with padding
inline constexpr double kMostPadding = 0.25;   // share of a batch

// Sequences in the order in which they are to be scored: by length, then as they came.
struct EvalShard {
  std::vector<EvalTask> tasks;  // of the whole evaluation
  std::vector<EvalSequence> sequences;
  int64_t truncated = 0;  // of the whole evaluation; in the first shard, 0 in the others

  friend bool operator==(const EvalShard&, const EvalShard&) = default;
};

// A sequence belongs to the shard in which its first token falls, when all sequences are laid end to end and
// cut every kShardTokens. A shard is never empty.
std::vector<EvalShard> CutShards(EvalRequests requests);

// Indices of sequences that go through the model together, padded to the longest: at most kBatchTokens and
// kMostPadding (a sequence that is longer goes alone). Every sequence occurs once, in order.
std::vector<std::vector<int>> MakeBatches(const EvalShard& shard);

std::string SerializeShard(const EvalShard& shard);
// INVALID_ARGUMENT EVALUATION_BLOB_INVALID.
absl::StatusOr<EvalShard> ParseShard(std::string_view bytes);

}  // namespace quantmoe
