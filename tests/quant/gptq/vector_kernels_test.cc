// Every kernel of every instruction set that this machine has, on rows at any address that their elements
// may have: what is promised is the alignment of one float or one byte, and malloc gives 16 bytes at most.
#include "quant/gptq/vector_kernels.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace quantmoe {
namespace {

constexpr int kLine = 64;  // bytes: the widest vector

// A copy of values that starts `offset` elements after a multiple of 64 bytes.
template <typename T>
class Placed {
 public:
  Placed(absl::Span<const T> values, int offset)
      : storage_(values.size() + 2 * kLine / sizeof(T)), size_(values.size()) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    first_ = (kLine - address % kLine) % kLine / sizeof(T) + static_cast<size_t>(offset);
    std::copy(values.begin(), values.end(), data());
  }
  T* data() { return storage_.data() + first_; }
  std::vector<T> Values() { return {data(), data() + size_}; }

 private:
  std::vector<T> storage_;
  size_t size_, first_ = 0;
};

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  // A sum of four uniform values: the same on every machine, unlike std::normal_distribution.
  for (float& value : values) {
    for (int i = 0; i < 4; ++i) value += static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  }
  return values;
}

class VectorKernelsTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  const VectorKernels& kernels_ = KernelsOf(GetParam());
};

constexpr int kOffsets = kLine / static_cast<int>(sizeof(float));

std::vector<float> FitAt(const VectorKernels& kernels, const GridOptions& options, int offset) {
  const auto size = static_cast<size_t>(options.group_size);
  Placed<float> w(Normal(size * kFitOutputs, 1), offset);
  Placed<float> h(std::vector<float>(size, 0.5f), (offset + 5) % kOffsets);
  Placed<float> scales(std::vector<float>(kFitOutputs), (offset + 11) % kOffsets);
  kernels.fit_run(w.data(), h.data(), options, scales.data());
  return scales.Values();
}

TEST_P(VectorKernelsTest, GridsFitAtAnyAddress) {
  for (const ScaleRule rule : {ScaleRule::kRange, ScaleRule::kPositive, ScaleRule::kSigned}) {
    const GridOptions options{.bits = 3, .group_size = 32, .scales = rule};
    const std::vector<float> aligned = FitAt(kernels_, options, 0);
    for (const float scale : aligned) EXPECT_TRUE(std::isfinite(scale) && scale != 0.0f);
    for (int offset = 1; offset < kOffsets; ++offset) {
      EXPECT_EQ(FitAt(kernels_, options, offset), aligned) << offset << " floats";
    }
  }
}

struct Solved {
  std::vector<float> differences;
  std::vector<uint8_t> codes;
  ColumnErrors errors;
};

// Eleven columns, so that the last panel is not full.
Solved SolveAt(const VectorKernels& kernels, int offset) {
  constexpr int kColumns = 11, kOuts = kRunOutputs, kStride = kOuts + 3;
  const std::vector<double> added(kColumns, 0.01);
  std::vector<float> upper = Normal(kColumns * kColumns, 2);
  for (size_t i = 0; i < kColumns; ++i) upper[i * kColumns + i] = 2.0f + static_cast<float>(i) / 8;
  BlockTriangle triangle;
  triangle.Pack(upper.data(), kColumns, added.data(), kColumns);
  Placed<float> product(Normal(kColumns * kStride, 3), offset);
  Placed<float> difference(std::vector<float>(kColumns * kStride), (offset + 3) % kOffsets);
  Placed<float> weights(Normal(kColumns * kOuts, 4), (offset + 7) % kOffsets);
  Placed<float> scales(std::vector<float>(kOuts, 0.4f), (offset + 9) % kOffsets);
  Placed<uint8_t> codes(std::vector<uint8_t>(kColumns * kOuts), 5 * offset % kLine);
  std::vector<const float*> weight_rows, scale_rows(kColumns, scales.data());
  std::vector<uint8_t*> code_rows;
  for (int i = 0; i < kColumns; ++i) {
    weight_rows.push_back(weights.data() + i * kOuts);
    code_rows.push_back(codes.data() + i * kOuts);
  }
  const ColumnErrors errors = kernels.solve_columns(triangle, {.product = product.data(),
                                                               .difference = difference.data(),
                                                               .stride = kStride,
                                                               .weights = weight_rows.data(),
                                                               .scales = scale_rows.data(),
                                                               .codes = code_rows.data(),
                                                               .offset = 0,
                                                               .bits = 3});
  return {difference.Values(), codes.Values(), errors};
}

TEST_P(VectorKernelsTest, ColumnsAreSolvedAtAnyAddress) {
  const Solved aligned = SolveAt(kernels_, 0);
  EXPECT_GT(aligned.errors.damped, 0.0);
  for (int offset = 1; offset < kOffsets; ++offset) {
    const Solved moved = SolveAt(kernels_, offset);
    EXPECT_EQ(moved.differences, aligned.differences) << offset << " floats";
    EXPECT_EQ(moved.codes, aligned.codes) << offset << " floats";
    EXPECT_EQ(moved.errors.damped, aligned.errors.damped) << offset << " floats";
    EXPECT_EQ(moved.errors.added, aligned.errors.added) << offset << " floats";
  }
}

TEST_P(VectorKernelsTest, RowsAreGatheredAndCheckedAtAnyAddress) {
  constexpr size_t kCount = 211;
  const std::vector<float> values = Normal(kCount, 5);
  std::vector<int32_t> order(kCount);
  std::vector<float> wanted(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    order[i] = static_cast<int32_t>(i * 17 % kCount);
    wanted[i] = values[i * 17 % kCount];
  }
  for (int offset = 0; offset < kOffsets; ++offset) {
    Placed<float> from(values, offset), to(std::vector<float>(kCount), (offset + 6) % kOffsets);
    Placed<int32_t> index(order, (offset + 13) % kOffsets);
    kernels_.gather(from.data(), index.data(), kCount, to.data());
    EXPECT_EQ(to.Values(), wanted) << offset << " floats";
    EXPECT_TRUE(kernels_.row_is_finite(to.data(), kCount));
    to.data()[3 * offset] = NAN;
    EXPECT_FALSE(kernels_.row_is_finite(to.data(), kCount));
    to.data()[3 * offset] = -HUGE_VALF;
    EXPECT_FALSE(kernels_.row_is_finite(to.data(), kCount));
  }
}

// The factor of a matrix that is one by construction, and its inverse.
TEST_P(VectorKernelsTest, TrianglesAreFactoredAndInvertedAtAnyAddress) {
  constexpr int kSize = 43;
  const std::vector<float> random = Normal(kSize * kSize, 6);
  std::vector<double> wanted(kSize * kTriangle), symmetric(kSize * kTriangle);
  const auto at = [](std::vector<double>& values, int i, int j) -> double& {
    return values[static_cast<size_t>(i * kTriangle + j)];
  };
  // wanted = V^T with V upper triangular; symmetric = V V^T, its lower triangle.
  for (int i = 0; i < kSize; ++i) {
    for (int j = 0; j <= i; ++j) {
      at(wanted, i, j) = i == j ? 3.0 : 0.1 * random[static_cast<size_t>(i * kSize + j)];
    }
  }
  for (int i = 0; i < kSize; ++i) {
    for (int j = 0; j <= i; ++j) {
      for (int k = i; k < kSize; ++k) at(symmetric, i, j) += at(wanted, k, i) * at(wanted, k, j);
    }
  }
  for (int offset = 0; offset < kLine / static_cast<int>(sizeof(double)); ++offset) {
    Placed<double> lower(symmetric, offset),
        inverse(std::vector<double>(kSize * kTriangle), (offset + 3) % 8);
    ASSERT_TRUE(kernels_.factor_transposed(lower.data(), kSize));
    kernels_.invert_transposed(lower.data(), kSize, inverse.data());
    std::vector<double> l = lower.Values(), x = inverse.Values();
    for (int i = 0; i < kSize; ++i) {
      for (int j = 0; j <= i; ++j) {
        EXPECT_NEAR(at(l, i, j), at(wanted, i, j), 1e-12) << i << ", " << j;
        double product = 0;
        for (int k = j; k <= i; ++k) product += at(l, i, k) * at(x, k, j);
        EXPECT_NEAR(product, i == j ? 1.0 : 0.0, 1e-12) << i << ", " << j;
      }
    }
    at(symmetric, 20, 20) = -1.0;
    Placed<double> indefinite(symmetric, offset);
    EXPECT_FALSE(kernels_.factor_transposed(indefinite.data(), kSize));
    at(symmetric, 20, 20) = HUGE_VAL;
    Placed<double> infinite(symmetric, offset);
    EXPECT_FALSE(kernels_.factor_transposed(infinite.data(), kSize));
    at(symmetric, 20, 20) = 0;
    for (int k = 20; k < kSize; ++k) at(symmetric, 20, 20) += at(wanted, k, 20) * at(wanted, k, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, VectorKernelsTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& set) { return InstructionSetName(set.param); });

}  // namespace
}  // namespace quantmoe
