#include "plan/allocate/weight_file_sizes.h"

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"

#include "plan/allocate/artifact_size.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int kGroupSize = 128;

int64_t LaidOutBytes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                     const std::vector<int>& bits) {
  std::map<std::string, int> width_of;
  for (size_t i = 0; i < linears.size(); ++i) width_of[linears[i].name] = bits[i];
  return WeightFileBytes(LayOutWeightFiles(
      linears, kept, [&](const Linear& linear) { return width_of.at(linear.name); }, kGroupSize));
}

// Names, dtypes and sizes of every kind, in and outside of layers, before and behind the linears' own
// tensors.
std::vector<TensorInfo> OddTensors(size_t count, int64_t extent, std::mt19937& random) {
  const std::vector<DType> dtypes = {DType::kBF16, DType::kF32, DType::kU8, DType::kI64, DType::kF4};
  std::vector<TensorInfo> tensors;
  for (size_t i = 0; i < count; ++i) {
    const std::string place = i % 3 == 0 ? "aux." : absl::StrCat("model.layers.", i % 40, ".\"ж\".");
    TensorInfo tensor{absl::StrCat(place, random() % 1000, ".", i), dtypes[i % dtypes.size()], {}};
    if (i % 7 != 0)
      tensor.shape = {2 * (1 + static_cast<int64_t>(random()) % extent), 1 + static_cast<int64_t>(i % 11)};
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::vector<int> RandomBits(size_t count, std::mt19937& random) {
  constexpr int kWidths[] = {2, 3, 4, 8};
  std::vector<int> bits(count);
  std::generate(bits.begin(), bits.end(), [&] { return kWidths[random() % 4]; });
  return bits;
}

TEST(WeightFileSizesTest, EqualTheLaidOutFileToTheByte) {
  std::mt19937 random(1);
  std::vector<Linear> linears = ListLinears(ParseOrDie(SmallMoeConfig()));
  std::vector<TensorInfo> kept = OddTensors(500, 300, random);
  for (size_t i = 0; i < linears.size(); i += 5) {
    linears[i].bias = true;
    kept.push_back({linears[i].name + ".bias", DType::kBF16, {linears[i].out}});
  }
  const WeightFileSizes sizes(linears, kept, kGroupSize);
  for (int i = 0; i < 20; ++i) {
    const std::vector<int> bits = RandomBits(linears.size(), random);
    EXPECT_EQ(sizes.Bytes(bits), LaidOutBytes(linears, kept, bits));
  }
}

TEST(WeightFileSizesTest, EqualTheLaidOutFilesAndTheirIndexToTheByte) {
  std::mt19937 random(2);
  std::vector<Linear> linears = ListLinears(ParseOrDie(MixtralConfig()));
  std::vector<TensorInfo> kept = OddTensors(200, 30'000'000, random);
  kept.push_back({linears[9].name + ".bias", DType::kF32, {linears[9].out}});
  linears[9].bias = true;
  const WeightFileSizes sizes(linears, kept, kGroupSize);
  for (int i = 0; i < 5; ++i) {
    const std::vector<int> bits = RandomBits(linears.size(), random);
    EXPECT_EQ(sizes.Bytes(bits), LaidOutBytes(linears, kept, bits));
  }
}

TEST(WeightFileSizesTest, ThereMayBeNoLinearOrNoOtherTensor) {
  const std::vector<Linear> linears = ListLinears(ParseOrDie(SmallMoeConfig()));
  const std::vector<int> bits(linears.size(), 3);
  EXPECT_EQ(WeightFileSizes(linears, {}, kGroupSize).Bytes(bits), LaidOutBytes(linears, {}, bits));
  EXPECT_EQ(WeightFileSizes({}, {}, kGroupSize).Bytes({}), LaidOutBytes({}, {}, {}));
}

}  // namespace
}  // namespace quantmoe
