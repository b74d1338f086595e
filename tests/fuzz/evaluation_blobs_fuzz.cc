// The blobs of an evaluation, which workers make: requests that are written the same, and scores that are
// merged or refused.
#include "quant/evaluate/scores.h"
#include "quant/evaluate/shards.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto scores = ParseScores(bytes); scores.ok())
    Require(SerializeScores(*scores) == bytes, "scores that were read are written the same");
  const absl::StatusOr<EvalShard> shard = ParseShard(bytes);
  if (!shard.ok()) return 0;
  const absl::StatusOr<EvalShard> again = ParseShard(SerializeShard(*shard));
  Require(again.ok() && *again == *shard, "a shard that was read is written the same");
  (void)MakeBatches(*shard);
  size_t targets = 0;
  for (const EvalSequence& sequence : shard->sequences) targets += sequence.targets.size();
  ScoreMerger merger;
  if (!merger.Add(*shard, ShardScores(targets, {-1.0, true})).ok()) return 0;
  if (const auto report = merger.Finish(); report.ok()) (void)ScoresToJson(*report);
  return 0;
}
