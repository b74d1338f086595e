// The divergence of predicted tokens against its definition, in double precision and one row at a time.
#include "quant/model/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "plan/model/model_config.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int64_t kHidden = 64, kVocabulary = 320;

// A head of random weights.
class RandomHead : public WeightSource {
 public:
  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override {
    return absl::NotFoundError(linear.name);
  }
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override {
    return absl::NotFoundError(linear.name);
  }
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override {
    return name == "model.norm.weight" ? norm : head;
  }

  at::Generator generator = at::detail::createCPUGenerator(3);
  const at::Tensor norm = at::rand({kHidden}, generator) + 0.5;
  const at::Tensor head = at::randn({kVocabulary, kHidden}, generator) * 0.3;
};

class RowDivergencesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(spec_,
                         ParseModelConfig(R"({"model_type": "mixtral", "hidden_size": 64, "vocab_size": 320,
      "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32,
      "num_local_experts": 4, "num_experts_per_tok": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5})"));
    ASSERT_OK_AND_ASSIGN(head_, OutputHead::Load(spec_, source_));
  }

  // log softmax of head * (x / sqrt(mean(x^2) + eps) * norm).
  std::vector<double> LogProbabilities(const at::Tensor& stream) const {
    const float* x = stream.const_data_ptr<float>();
    double squares = 0;
    for (int64_t h = 0; h < kHidden; ++h) squares += static_cast<double>(x[h]) * x[h];
    const double scale = 1 / std::sqrt(squares / kHidden + 1e-5);
    std::vector<double> logits(kVocabulary);
    double total = 0;
    for (int64_t v = 0; v < kVocabulary; ++v) {
      const float* row = source_.head.const_data_ptr<float>() + v * kHidden;
      for (int64_t h = 0; h < kHidden; ++h) {
        logits[static_cast<size_t>(v)] += x[h] * scale * source_.norm.const_data_ptr<float>()[h] * row[h];
      }
      total += std::exp(logits[static_cast<size_t>(v)]);
    }
    for (double& logit : logits) logit -= std::log(total);
    return logits;
  }

  double Expected(const at::Tensor& reference, const at::Tensor& changed) const {
    double sum = 0;
    for (int64_t row = 0; row < reference.size(0); ++row) {
      const std::vector<double> p = LogProbabilities(reference[row]), q = LogProbabilities(changed[row]);
      for (size_t v = 0; v < p.size(); ++v) sum += std::exp(p[v]) * (p[v] - q[v]);
    }
    return sum / static_cast<double>(reference.size(0));
  }

  double Mean(const at::Tensor& reference, const at::Tensor& changed) const {
    const std::vector<double> rows = RowDivergences(head_, reference, changed);
    EXPECT_EQ(rows, CompareRows(head_, reference, changed).rows);
    return std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
  }

  at::Tensor Rows(int64_t count) { return at::randn({count, kHidden}, source_.generator); }

  ModelSpec spec_;
  RandomHead source_;
  OutputHead head_;
};

TEST_F(RowDivergencesTest, IsTheMeanOverRowsInNats) {
  const at::Tensor reference = Rows(23);
  for (const double change : {0.01, 0.3, 3.0}) {
    const at::Tensor changed = reference + change * Rows(23);
    const double expected = Expected(reference, changed);
    EXPECT_NEAR(Mean(reference, changed), expected, 1e-4 * expected + 1e-7) << change;
    EXPECT_GT(expected, 0);
  }
}

TEST_F(RowDivergencesTest, IsNotSymmetricAndZeroOnlyForEqualStreams) {
  const at::Tensor reference = Rows(8), changed = Rows(8);
  EXPECT_EQ(Mean(reference, reference), 0);
  const double there = Mean(reference, changed), back = Mean(changed, reference);
  EXPECT_NEAR(there, Expected(reference, changed), 1e-4 * there);
  EXPECT_NEAR(back, Expected(changed, reference), 1e-4 * back);
  EXPECT_GT(std::abs(there - back), 1e-3 * there) << "the reference comes first";
}

TEST_F(RowDivergencesTest, RowsThatRepeatChangeNothing) {
  const at::Tensor reference = Rows(5), changed = Rows(5);
  const double once = Mean(reference, changed);
  EXPECT_NEAR(Mean(reference.repeat({40, 1}), changed.repeat({40, 1})), once, 1e-6 * once);
}

TEST_F(RowDivergencesTest, ARowCountsAsFlippedWhenItsArgmaxIs) {
  const at::Tensor reference = Rows(30), changed = reference + 0.8 * Rows(30);
  int64_t flips = 0;
  for (int64_t row = 0; row < 30; ++row) {
    const std::vector<double> p = LogProbabilities(reference[row]), q = LogProbabilities(changed[row]);
    flips +=
        std::max_element(p.begin(), p.end()) - p.begin() != std::max_element(q.begin(), q.end()) - q.begin();
  }
  EXPECT_GT(flips, 0);
  EXPECT_EQ(CompareRows(head_, reference, changed).top1_flips, flips);
}

}  // namespace
}  // namespace quantmoe
