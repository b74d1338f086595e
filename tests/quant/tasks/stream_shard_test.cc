#include "quant/tasks/stream_shard.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using testing::ElementsAre;

// Three sequences of four tokens with streams of length 1, but for the first tokens of two of them and one
// token further behind.
at::Tensor Stream() {
  at::Tensor stream = at::zeros({12, 8}, at::kFloat);
  stream.select(1, 3).fill_(1);
  for (const int64_t token : {0, 4, 10}) stream[token][3] = 50;
  return stream;
}

TEST(StatisticsOfShardTest, CountsMassiveTokensAndWhoGotThem) {
  Routing routing;
  routing.experts = at::arange(24, at::kLong).remainder(3).view({12, 2});
  routing.weights = at::ones({12, 2});
  at::Tensor received = at::full({4}, 0.1f);
  received[2] = 0.6f;
  const StreamStatistics found =
      StatisticsOfShard(/*layer=*/5, Stream(), /*length=*/4, received, {{1, 2, 3}, 0.5}, routing);
  EXPECT_EQ(found.layer, 5);
  EXPECT_EQ(found.tokens, 12);
  EXPECT_EQ(found.median_norm, 1);
  EXPECT_EQ(found.largest_norm, 50);
  EXPECT_EQ(found.massive_tokens, 3);
  EXPECT_EQ(found.massive_starts, 2);
  EXPECT_FLOAT_EQ(static_cast<float>(found.sink_share), 0.6f);
  EXPECT_EQ(found.sink_position, 2);
  EXPECT_THAT(found.expert_peaks, ElementsAre(1, 2, 3));
  EXPECT_EQ(found.mlp_peak, 0.5);
  // Tokens 0, 4 and 10 went to experts 0 and 1, 2 and 0, and 2 and 0.
  EXPECT_THAT(found.massive_routed, ElementsAre(3, 1, 2));
}

TEST(StatisticsOfShardTest, ALayerWithoutExpertsRoutesNothing) {
  const StreamStatistics found = StatisticsOfShard(0, Stream(), 4, at::full({4}, 0.25f), {{}, 7}, Routing{});
  EXPECT_EQ(found.mlp_peak, 7);
  EXPECT_THAT(found.massive_routed, testing::IsEmpty());
}

}  // namespace
}  // namespace quantmoe
