#include "quant/tasks/block_probe.h"

#include <string>

#include "gtest/gtest.h"
#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// A tensor that tells when the last view of it is gone.
at::Tensor Watched(at::Tensor values, bool& freed) {
  void* const data = values.data_ptr();
  const auto sizes = values.sizes().vec();
  return at::from_blob(
      data, sizes, [values, &freed](void*) { freed = true; }, values.options());
}

TEST(ProbeRowsTest, NoShardOutlivesItsRows) {
  constexpr size_t kShards = 4;
  constexpr int64_t kTokens = 5000, kHidden = 16;
  ProbeRows sample(kShards, c10::Device(c10::kCPU));
  for (size_t shard = 0; shard < kShards; ++shard) {
    bool rows_freed = false, squares_freed = false, factors_freed = false;
    sample.Add(Watched(at::randn({kTokens, kHidden}), rows_freed),
               Watched(at::rand({kTokens}), squares_freed), Watched(at::rand({kTokens, 1}), factors_freed));
    EXPECT_TRUE(rows_freed && squares_freed && factors_freed) << "shard " << shard;
  }
}

TEST(ProbeRowsTest, FirstRowsHoldNoMoreThanTheirOwnBytes) {
  const at::Tensor states = at::randn({3, 400, 8});
  const at::Tensor rows = FirstRows(states.slice(1, 0, 100), 2);
  EXPECT_TRUE(rows.equal(states.slice(0, 0, 2).slice(1, 0, 100)));
  EXPECT_EQ(rows.storage().nbytes(), sizeof(float) * 2 * 100 * 8);
  // Also where nothing is cut off.
  const at::Tensor all = FirstRows(states[0], 400);
  EXPECT_EQ(all.storage().nbytes(), sizeof(float) * 400 * 8);
  EXPECT_EQ(FirstRows(states[0], 1000).size(0), 400);
}

}  // namespace
}  // namespace quantmoe
