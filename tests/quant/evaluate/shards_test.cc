#include "quant/evaluate/shards.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "tests/quant/evaluate/evaluation_fixture.h"

namespace quantmoe {
namespace {

EvalRequests TinyRequests() {
  const auto tokenizer = TinyTokenizer();
  EvalOptions options;
  options.max_length = 100;
  RequestBuilder builder(*tokenizer, options);
  EXPECT_TRUE(builder.AddPerplexity(ReadTestdata("tiny_heldout.txt"), 512).ok());
  for (const char* name : {"hellaswag", "mmlu", "copa"}) {
    const std::string dev = name == std::string("mmlu") ? ReadTestdata("tasks/mmlu_dev.jsonl") : "";
    EXPECT_TRUE(builder
                    .AddTask(*ParseBenchmark(name), ReadTestdata(std::string("tasks/") + name + ".jsonl"),
                             name, dev, "dev")
                    .ok());
  }
  return std::move(builder).Finish();
}

TEST(ShardsTest, EverySequenceIsInOneShardOfAboutTheRightSize) {
  const EvalRequests requests = TinyRequests();
  const auto shards = CutShards(requests);
  ASSERT_GT(shards.size(), 3u);
  size_t sequences = 0;
  int64_t truncated = 0;
  for (const EvalShard& shard : shards) {
    int64_t tokens = 0;
    for (const EvalSequence& sequence : shard.sequences) tokens += static_cast<int64_t>(sequence.ids.size());
    EXPECT_LT(tokens, kShardTokens + 512);
    EXPECT_GT(tokens, &shard == &shards.back() ? 0 : kShardTokens - 512);
    EXPECT_TRUE(std::is_sorted(shard.sequences.begin(), shard.sequences.end(),
                               [](const auto& a, const auto& b) { return a.ids.size() < b.ids.size(); }));
    sequences += shard.sequences.size();
    truncated += shard.truncated;
  }
  EXPECT_EQ(sequences, requests.sequences.size());
  EXPECT_EQ(truncated, requests.truncated);
  EXPECT_GT(truncated, 0);
}

TEST(ShardsTest, BatchesCoverTheShardWithinTheirLimits) {
  for (const EvalShard& shard : CutShards(TinyRequests())) {
    int next = 0;
    for (const auto& batch : MakeBatches(shard)) {
      int64_t tokens = 0;
      for (const int index : batch) {
        EXPECT_EQ(index, next++);
        tokens += static_cast<int64_t>(shard.sequences[index].ids.size());
      }
      const auto padded = static_cast<int64_t>(shard.sequences[batch.back()].ids.size() * batch.size());
      EXPECT_LE(padded, kBatchTokens);
      EXPECT_LE(static_cast<double>(padded - tokens), kMostPadding * static_cast<double>(padded));
    }
    EXPECT_EQ(next, static_cast<int>(shard.sequences.size()));
  }
}

TEST(ShardsTest, LongSequenceGoesAlone) {
  EvalShard shard;
  for (const size_t length : {10, 10, 9000}) shard.sequences.push_back({std::vector<int32_t>(length, 1), {}});
  EXPECT_EQ(MakeBatches(shard), (std::vector<std::vector<int>>{{0, 1}, {2}}));
}

TEST(ShardsTest, BlobsSurviveARoundTrip) {
  for (const EvalShard& shard : CutShards(TinyRequests())) {
    const std::string bytes = SerializeShard(shard);
    const auto parsed = ParseShard(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    EXPECT_EQ(*parsed, shard);
    EXPECT_EQ(SerializeShard(*parsed), bytes);
  }
}

TEST(ShardsTest, DamagedBlobsAreRefused) {
  EvalShard shard;
  shard.tasks = {{"piqa", Scoring::kNormalizedAccuracy}};
  EvalTarget target;
  target.tokens = {7};
  target.choices = 2;
  shard.sequences = {{{1, 2}, {target}}};
  const std::string good = SerializeShard(shard);
  ASSERT_TRUE(ParseShard(good).ok());
  const auto expect_bad = [](const std::string& bytes) {
    EXPECT_EQ(GetErrorInfo(ParseShard(bytes).status()).reason, "EVALUATION_BLOB_INVALID") << bytes;
  };
  for (const size_t cut : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1})
    expect_bad(good.substr(0, cut));
  for (const auto& [field, value] :
       std::vector<std::pair<int, int>>{{0, -1}, {0, 2}, {2, 1}, {4, 2}, {6, -1}}) {
    nlohmann::json changed = nlohmann::json::parse(good);
    changed["sequences"][0][1][0][field] = value;
    expect_bad(changed.dump());
  }
  nlohmann::json newer = nlohmann::json::parse(good);
  newer["version"] = 3;
  expect_bad(newer.dump());
}

}  // namespace
}  // namespace quantmoe
