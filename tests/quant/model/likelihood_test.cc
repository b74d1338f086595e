// The divergence of predicted tokens against its definition, in double precision and one row at a time.
#include "quant/model/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "plan/model/logit_rows.h"
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

class CompareRowsTest : public ::testing::Test {
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
    const std::vector<double> rows = CompareRows(head_, reference, {changed}).front().rows;
    return std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
  }

  at::Tensor Rows(int64_t count) { return at::randn({count, kHidden}, source_.generator); }

  ModelSpec spec_;
  RandomHead source_;
  OutputHead head_;
};

TEST_F(CompareRowsTest, IsTheMeanOverRowsInNats) {
  const at::Tensor reference = Rows(23);
  for (const double change : {0.01, 0.3, 3.0}) {
    const at::Tensor changed = reference + change * Rows(23);
    const double expected = Expected(reference, changed);
    EXPECT_NEAR(Mean(reference, changed), expected, 1e-4 * expected + 1e-7) << change;
    EXPECT_GT(expected, 0);
  }
}

TEST_F(CompareRowsTest, IsNotSymmetricAndZeroOnlyForEqualStreams) {
  const at::Tensor reference = Rows(8), changed = Rows(8);
  EXPECT_EQ(Mean(reference, reference), 0);
  const double there = Mean(reference, changed), back = Mean(changed, reference);
  EXPECT_NEAR(there, Expected(reference, changed), 1e-4 * there);
  EXPECT_NEAR(back, Expected(changed, reference), 1e-4 * back);
  EXPECT_GT(std::abs(there - back), 1e-3 * there) << "the reference comes first";
}

TEST_F(CompareRowsTest, RowsThatRepeatChangeNothing) {
  const at::Tensor reference = Rows(5), changed = Rows(5);
  const double once = Mean(reference, changed);
  EXPECT_NEAR(Mean(reference.repeat({40, 1}), changed.repeat({40, 1})), once, 1e-6 * once);
}

TEST_F(CompareRowsTest, ARowCountsAsFlippedWhenItsArgmaxIs) {
  const at::Tensor reference = Rows(30), changed = reference + 0.8 * Rows(30);
  int64_t flips = 0;
  for (int64_t row = 0; row < 30; ++row) {
    const std::vector<double> p = LogProbabilities(reference[row]), q = LogProbabilities(changed[row]);
    flips +=
        std::max_element(p.begin(), p.end()) - p.begin() != std::max_element(q.begin(), q.end()) - q.begin();
  }
  EXPECT_GT(flips, 0);
  EXPECT_EQ(CompareRows(head_, reference, {changed}).front().top1_flips, flips);
}

TEST_F(CompareRowsTest, ManyStreamsAreComparedAsEachAlone) {
  const at::Tensor reference = Rows(12);
  const std::vector<at::Tensor> changed = {Rows(12), reference, Rows(12)};
  const std::vector<Divergences> together = CompareRows(head_, reference, changed);
  ASSERT_EQ(together.size(), 3u);
  for (size_t i = 0; i < changed.size(); ++i) {
    const Divergences alone = CompareRows(head_, reference, {changed[i]}).front();
    EXPECT_EQ(together[i].rows, alone.rows) << i;
    EXPECT_EQ(together[i].top1_flips, alone.top1_flips) << i;
  }
}

TEST_F(CompareRowsTest, MoreRowsThanAreHeldAtOnceKeepTheirOrder) {
  const int64_t rows = LogitRows(kVocabulary) + 3;
  at::Tensor reference = Rows(rows), changed = reference.clone();
  changed.narrow(0, rows - 2, 1).add_(1);
  const std::vector<double> divergences = CompareRows(head_, reference, {changed}).front().rows;
  ASSERT_EQ(static_cast<int64_t>(divergences.size()), rows);
  EXPECT_GT(divergences[static_cast<size_t>(rows - 2)], 0);
  EXPECT_EQ(std::count(divergences.begin(), divergences.end(), 0.0), rows - 1);
}

}  // namespace
}  // namespace quantmoe
