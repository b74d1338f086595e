#include "quant/gptq/packing.h"

#include "gtest/gtest.h"
#include <ATen/ATen.h>

namespace quantmoe {
namespace {

std::vector<uint32_t> Words(const at::Tensor& packed, int64_t column) {
  std::vector<uint32_t> words;
  for (int64_t row = 0; row < packed.size(0); ++row)
    words.push_back(static_cast<uint32_t>(packed[row][column].item<int32_t>()));
  return words;
}

TEST(PackingTest, ThreeBitGoldenWords) {
  const at::Tensor codes = at::arange(32).remainder(8).to(at::kByte).view({32, 1});
  EXPECT_EQ(Words(PackRows(codes, 3), 0), (std::vector<uint32_t>{0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu}));
}

TEST(PackingTest, PowerOfTwoWidthsFillWordsFromTheLowestBit) {
  const at::Tensor codes = at::arange(32).remainder(4).to(at::kByte).view({32, 1});
  EXPECT_EQ(Words(PackRows(codes, 2), 0), (std::vector<uint32_t>{0xE4E4E4E4u, 0xE4E4E4E4u}));
  EXPECT_EQ(Words(PackRows(codes, 4), 0)[0], 0x32103210u);
  EXPECT_EQ(Words(PackRows(codes, 8), 0)[0], 0x03020100u);
}

TEST(PackingTest, UnpackingGivesTheCodesBack) {
  for (const int bits : {2, 3, 4, 5, 6, 7, 8}) {
    const at::Tensor codes = at::randint(1 << bits, {96, 7}).to(at::kByte);
    EXPECT_TRUE(UnpackRows(PackRows(codes, bits), bits).equal(codes)) << bits;
  }
}

// The zero words of published symmetric v1 checkpoints (docs/formats.md).
TEST(PackingTest, SymmetricZerosAreTheWordsOfV1) {
  EXPECT_EQ(static_cast<uint32_t>(SymmetricZeros(2, 32, 2)[1][0].item<int32_t>()), 0x55555555u);
  EXPECT_EQ(static_cast<uint32_t>(SymmetricZeros(1, 32, 4)[0][3].item<int32_t>()), 0x77777777u);
  EXPECT_EQ(static_cast<uint32_t>(SymmetricZeros(1, 32, 8)[0][7].item<int32_t>()), 0x7F7F7F7Fu);
  const at::Tensor three = SymmetricZeros(1, 32, 3);
  EXPECT_EQ(static_cast<uint32_t>(three[0][0].item<int32_t>()), 0xDB6DB6DBu);
  EXPECT_EQ(static_cast<uint32_t>(three[0][1].item<int32_t>()), 0xB6DB6DB6u);
  EXPECT_EQ(static_cast<uint32_t>(three[0][2].item<int32_t>()), 0x6DB6DB6Du);
}

TEST(PackingTest, DequantizeUsesTheScaleOfTheGroup) {
  at::Tensor codes = at::full({64, 2}, 8, at::kByte);
  codes[0][0] = 15;
  codes[40][1] = 0;
  const at::Tensor scales = at::tensor({0.5f, 1.0f, 2.0f, -3.0f}).view({2, 2}).to(at::kHalf);
  const at::Tensor w = Dequantize(codes, scales, /*bits=*/4, /*group_size=*/32);
  EXPECT_EQ(w.sizes(), at::IntArrayRef({2, 64}));
  EXPECT_EQ(w[0][0].item<float>(), 3.5f);
  EXPECT_EQ(w[1][40].item<float>(), 24.0f);
  EXPECT_EQ(w.count_nonzero().item<int64_t>(), 2);
}

TEST(PackingTest, MirroredGroupsAreTheSameWeightsWithPositiveScales) {
  for (const int bits : {2, 3, 4, 8}) {
    const at::Tensor codes = at::randint(1 << bits, {96, 64}).to(at::kByte);
    const at::Tensor scales = at::randn({3, 64}).to(at::kHalf), packed = PackRows(codes, bits);
    const GptqTensors stored = MirrorNegativeGroups(packed, scales, bits);
    EXPECT_TRUE((stored.scales > 0).all().item<bool>());
    EXPECT_TRUE(DequantizeStored(stored, bits).equal(Dequantize(codes, scales, bits, 32))) << bits;
    const std::optional<SignedLinear> back = UnmirrorGroups(stored, bits);
    ASSERT_TRUE(back.has_value());
    EXPECT_TRUE(back->qweight.equal(packed) && back->scales.equal(scales)) << bits;
  }
}

TEST(PackingTest, WithoutNegativeScalesNothingIsMirrored) {
  const at::Tensor packed = PackRows(at::randint(8, {64, 32}).to(at::kByte), 3);
  const GptqTensors stored = MirrorNegativeGroups(packed, at::ones({2, 32}, at::kHalf), 3);
  EXPECT_TRUE(stored.qweight.equal(packed));
  EXPECT_TRUE(stored.qzeros.equal(SymmetricZeros(2, 32, 3)));
}

TEST(PackingTest, OtherZeroPointsAreNotMirrored) {
  const at::Tensor packed = PackRows(at::randint(16, {32, 32}).to(at::kByte), 4);
  GptqTensors stored = MirrorNegativeGroups(packed, at::ones({1, 32}, at::kHalf), 4);
  stored.qzeros[0][1].fill_(0x77777577);
  EXPECT_FALSE(UnmirrorGroups(stored, 4).has_value());
}

}  // namespace
}  // namespace quantmoe
