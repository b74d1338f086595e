#include "quant/tasks/block_predictor.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int64_t kLength = 64, kSequences = 10, kHidden = 16;

// Inputs and a smooth target in (-1, 1) that depends on them.
struct Data {
  at::Tensor inputs, targets;
};
Data MakeData() {
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor x = at::randn({kSequences * kLength, kHidden}, generator, at::kFloat);
  return {x, at::tanh(0.5 * (x.select(1, 0).abs() - x.select(1, 1)))};
}

PredictorOptions Options() {
  PredictorOptions options;
  options.width = 128;
  options.learning_rate = 3e-3;
  return options;
}

absl::Status Go(int) { return absl::OkStatus(); }

double Error(const BlockPredictor& network, const Data& data, int64_t first, int64_t rows) {
  return (network.Predict(data.inputs.narrow(0, first, rows)) - data.targets.narrow(0, first, rows))
      .pow(2)
      .mean()
      .item<double>();
}

TEST(BlockPredictorTest, LearnsWhatItsInputsTell) {
  const c10::InferenceMode inference;
  const Data data = MakeData();
  ASSERT_OK_AND_ASSIGN(const TrainedPredictor trained,
                       TrainPredictor(data.inputs, data.targets, kLength, Options(), Go));
  // The last sequence was held out.
  const int64_t last = (kSequences - 1) * kLength;
  EXPECT_NEAR(trained.validation_loss, Error(trained.network, data, last, kLength), 1e-5);
  EXPECT_LT(trained.validation_loss, 0.15 * data.targets.narrow(0, last, kLength).var().item<double>());
  EXPECT_LT(trained.training_loss, trained.validation_loss);
  EXPECT_GT(trained.epochs, Options().patience);
}

// One step of AdamW against the gradient by finite differences: it goes down along every coordinate that
// matters.
TEST(BlockPredictorTest, TheFirstStepFollowsTheGradient) {
  const c10::InferenceMode inference;
  const Data data = MakeData();
  PredictorOptions options = Options();
  options.weight_decay = 0;
  options.max_epochs = 1;
  const at::Tensor x = data.inputs.narrow(0, 0, kLength), y = data.targets.narrow(0, 0, kLength);
  options.learning_rate = 1e-12;
  ASSERT_OK_AND_ASSIGN(const TrainedPredictor still, TrainPredictor(x, y, kLength, options, Go));
  options.learning_rate = 1e-3;
  ASSERT_OK_AND_ASSIGN(const TrainedPredictor moved, TrainPredictor(x, y, kLength, options, Go));
  const auto loss = [&](const BlockPredictor& network) {
    return (network.Predict(x).to(at::kDouble) - y.to(at::kDouble)).pow(2).mean().item<double>();
  };
  for (const int64_t unit : {3, 77}) {
    for (const bool second : {false, true}) {
      const auto shifted = [&](float by) {
        BlockPredictor network{still.network.first.clone(), still.network.second.clone()};
        (second ? network.second.select(0, 0).select(0, unit) : network.first.select(0, unit).select(0, 1)) +=
            by;
        return loss(network);
      };
      const double gradient = (shifted(1e-2f) - shifted(-1e-2f)) / 2e-2;
      if (std::abs(gradient) < 1e-4) continue;
      const auto weight = [&](const BlockPredictor& network) {
        return (second ? network.second[0][unit] : network.first[unit][1]).item<double>();
      };
      // AdamW's first step is the learning rate against the sign of the gradient.
      EXPECT_NEAR(weight(moved.network) - weight(still.network), gradient > 0 ? -1e-3 : 1e-3, 1e-5)
          << unit << " " << second;
    }
  }
}

TEST(BlockPredictorTest, StopsEarlyIsRepeatableAndCanBeCancelled) {
  const c10::InferenceMode inference;
  Data data = MakeData();
  data.targets = data.targets.index_select(0, at::arange(data.targets.size(0) - 1, -1, -1, at::kLong));
  PredictorOptions options = Options();
  options.patience = 2;
  ASSERT_OK_AND_ASSIGN(const TrainedPredictor once,
                       TrainPredictor(data.inputs, data.targets, kLength, options, Go));
  ASSERT_OK_AND_ASSIGN(const TrainedPredictor again,
                       TrainPredictor(data.inputs, data.targets, kLength, options, Go));
  EXPECT_LT(once.epochs, options.max_epochs);  // nothing can be learned
  EXPECT_TRUE(at::equal(once.network.first, again.network.first));
  EXPECT_FALSE(TrainPredictor(data.inputs, data.targets, kLength, options, [](int epoch) {
                 return epoch == 2 ? absl::CancelledError("enough") : absl::OkStatus();
               }).ok());
  EXPECT_FALSE(TrainPredictor(data.inputs, data.targets, 10000, options, Go).ok());
}

}  // namespace
}  // namespace quantmoe
