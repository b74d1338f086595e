// What a solve is said to need against the sizes of the tensors that it holds, listed one by one.
#include "plan/graph/task_memory.h"

#include <numeric>

#include "gtest/gtest.h"

#include "tests/plan/synthetic_table.h"

namespace quantmoe {
namespace {

constexpr int64_t kFloat = 4, kShard = 2 * 96;  // bytes; tokens of a shard

class SolveBytesTest : public ::testing::Test {
 protected:
  SolveBytesTest() {
    job_.model = ParseOrDie(SmallMoeConfig(/*layers=*/2, /*experts=*/4));
    job_.spec.calibration.shard_sequences = 2;
    job_.spec.calibration.sequence_length = 96;
    job_.spec.gptq.widths = {2, 4};
    job_.read_bytes = 12345;
  }

  Part Cut(int layer, PartKind kind) const {
    for (const Part& part : CutLayer(job_.model, layer)) {
      if (part.kind == kind) return part;
    }
    ADD_FAILURE() << "no such part";
    return {};
  }

  static int64_t Sum(const std::vector<int64_t>& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  }

  ResolvedJob job_;
};

TEST_F(SolveBytesTest, OfADenseMlp) {
  // gate and up [256, 128], down [128, 256], at two widths.
  EXPECT_EQ(SolveBytes(job_, Cut(0, PartKind::kDense)),
            Sum({3 * 256 * 128 * kFloat,      // the weights
                 2 * kShard * 128 * kFloat,   // the shard as it is read and computed with
                 2 * kShard * 256 * kFloat,   // inner activations
                 4 * 256 * 256 * kFloat,      // Hessian of down, its factor and two copies
                 3 * 3 * 256 * 128 * kFloat,  // weight, codes and errors, with a copy, at two widths
                 3 * 256 * 128 * 2 * 9 / 8,   // packed results
                 12345}));                    // one linear as it is stored
}

TEST_F(SolveBytesTest, OfAttentionHoldsTheHessiansOfAllItsInputs) {
  // q and o [128, 128], k and v [64, 128]: the input of q, k and v, and that of o.
  EXPECT_EQ(SolveBytes(job_, Cut(1, PartKind::kAttention)),
            Sum({(2 * 128 + 2 * 64) * 128 * kFloat, 2 * kShard * (128 + 128) * kFloat, 4 * 128 * 128 * kFloat,
                 1 * 128 * 128 * kFloat,  // the Hessian that waits
                 3 * 3 * 128 * 128 * kFloat, (2 * 128 + 2 * 64) * 128 * 2 * 9 / 8, 12345}));
}

TEST_F(SolveBytesTest, OfExpertsHoldsFourHessians) {
  // Four experts of gate and up [64, 128] and down [128, 64].
  EXPECT_EQ(SolveBytes(job_, Cut(1, PartKind::kExperts)),
            Sum({4 * 3 * 64 * 128 * kFloat, 2 * kShard * (128 + 128) * kFloat, 4 * 128 * 128 * kFloat,
                 3 * 128 * 128 * kFloat,  // of down, and of what supports both
                 3 * 3 * 64 * 128 * kFloat, 4 * 3 * 64 * 128 * 2 * 9 / 8, 12345}));
}

TEST_F(SolveBytesTest, AWidthCostsItsResultsAndItsWorkOnTheLargestLinear) {
  const Part part = Cut(0, PartKind::kDense);
  const int64_t two = SolveBytes(job_, part);
  job_.spec.gptq.widths = {2, 3, 4};
  EXPECT_EQ(SolveBytes(job_, part) - two, 3 * 256 * 128 * kFloat + 3 * 256 * 128 * 9 / 8);
}

TEST_F(SolveBytesTest, ALongerShardCostsItsRows) {
  const Part part = Cut(1, PartKind::kExperts);
  const int64_t before = SolveBytes(job_, part);
  job_.spec.calibration.shard_sequences = 3;
  EXPECT_EQ(SolveBytes(job_, part) - before, 2 * 96 * (128 + 128) * kFloat);
}

// 32 windows of 64 tokens, where a shard has one sequence of as many.
TEST_F(SolveBytesTest, ASampleCountsWhateverShardsHold) {
  job_.parts = CutParts(job_.model);
  job_.spec.calibration.shard_sequences = 1;
  job_.spec.calibration.sequence_length = 64;
  const int64_t more = 31 * 64 * job_.model.hidden * kFloat;
  EXPECT_GT(SampleForwardBytes(job_, 1), ForwardBytes(job_, 1) + more);
  EXPECT_GT(ProbeBytes(job_, /*streams=*/1), SampleForwardBytes(job_, 1) + 2 * more);
  EXPECT_GT(ProbeBytes(job_, 6), ProbeBytes(job_, 1) + 5 * 2 * more);
}

}  // namespace
}  // namespace quantmoe
