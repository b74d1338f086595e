#include "quant/tasks/block_predictor.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/heuristics/split_mix.h"

namespace quantmoe {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

// Uniform in +-1/sqrt(in), as PyTorch starts a linear layer.
at::Tensor StartWeights(int64_t out, int64_t in, uint64_t& state) {
  at::Tensor weights = at::empty({out, in}, at::kFloat);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  float* const data = weights.mutable_data_ptr<float>();
  for (int64_t i = 0; i < weights.numel(); ++i) {
    const double uniform = static_cast<double>(NextSplitMix(state) >> 11) * 0x1.0p-53;
    data[i] = static_cast<float>(bound * (2 * uniform - 1));
  }
  return weights;
}

// Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).
class AdamW {
 public:
  AdamW(at::Tensor& weights, const PredictorOptions& options)
      : weights_(weights),
        options_(options),
        mean_(at::zeros_like(weights)),
        square_(at::zeros_like(weights)) {}

  void Step(const at::Tensor& gradient) {
    ++steps_;
    weights_.mul_(1 - options_.learning_rate * options_.weight_decay);
    mean_.mul_(kBeta1).add_(gradient, 1 - kBeta1);
    square_.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    const double mean_scale = 1 - std::pow(kBeta1, steps_), square_scale = 1 - std::pow(kBeta2, steps_);
    weights_.addcdiv_(mean_, (square_ / square_scale).sqrt_().add_(kEpsilon),
                      -options_.learning_rate / mean_scale);
  }

 private:
  at::Tensor& weights_;
  const PredictorOptions& options_;
  at::Tensor mean_, square_;
  int steps_ = 0;
};

// Token by token, so that the number of threads does not show.
double Sum(const at::Tensor& values) {
  const at::Tensor rows = values.contiguous();
  double sum = 0;
  for (int64_t i = 0; i < rows.size(0); ++i) sum += static_cast<double>(rows.const_data_ptr<float>()[i]);
  return sum;
}

double MeanSquaredError(const BlockPredictor& network, const at::Tensor& inputs, const at::Tensor& cosines) {
  return Sum((network.Predict(inputs) - cosines).pow(2)) / static_cast<double>(inputs.size(0));
}

class Training {
 public:
  Training(const PredictorOptions& options, int64_t hidden, uint64_t state)
      : network_{StartWeights(options.width, hidden, state), StartWeights(1, options.width, state)},
        first_(network_.first, options),
        second_(network_.second, options) {}

  // Back-propagation through tanh, the second layer and the rectifier. Returns the loss before the step.
  double Step(const at::Tensor& x, const at::Tensor& cosines) {
    const at::Tensor inner = at::relu(x.matmul(network_.first.t()));                      // [tokens, width]
    const at::Tensor predicted = at::tanh(inner.matmul(network_.second.t()).squeeze(1));  // [tokens]
    const at::Tensor error = predicted - cosines;
    const at::Tensor slope =
        (error * (1 - predicted * predicted) * (2.0 / static_cast<double>(x.size(0)))).unsqueeze(1);
    const at::Tensor second_gradient = slope.t().matmul(inner);
    const at::Tensor first_gradient = (slope.matmul(network_.second) * (inner > 0)).t().matmul(x);
    second_.Step(second_gradient);
    first_.Step(first_gradient);
    return Sum(error.pow(2)) / static_cast<double>(x.size(0));
  }

  const BlockPredictor& network() const { return network_; }

 private:
  BlockPredictor network_;
  AdamW first_, second_;
};

}  // namespace

at::Tensor BlockPredictor::Predict(const at::Tensor& x) const {
  return at::tanh(at::relu(x.matmul(first.t())).matmul(second.t()).squeeze(1));
}

absl::StatusOr<TrainedPredictor> TrainPredictor(const at::Tensor& inputs, const at::Tensor& cosines,
                                                int64_t length, const PredictorOptions& options,
                                                const std::function<absl::Status(int epoch)>& after_epoch) {
  const int64_t sequences = inputs.size(0) / length;
  if (sequences == 0) return absl::InvalidArgumentError("the predictor needs one sequence at least");
  const auto wanted = static_cast<int64_t>(std::llround(options.held_out * static_cast<double>(sequences)));
  const int64_t validating = std::min(std::max<int64_t>(wanted, 1), sequences);
  const int64_t trained = std::max<int64_t>(sequences - validating, 1);
  const at::Tensor last_inputs = inputs.slice(0, (sequences - validating) * length, sequences * length);
  const at::Tensor last_cosines = cosines.slice(0, (sequences - validating) * length, sequences * length);
  Training training(options, inputs.size(1), options.seed);
  TrainedPredictor best;
  best.validation_loss = std::numeric_limits<double>::infinity();
  int without_gain = 0;
  for (int epoch = 1; epoch <= options.max_epochs && without_gain < options.patience; ++epoch) {
    double loss = 0;
    for (int64_t s = 0; s < trained; ++s) {
      loss += training.Step(inputs.narrow(0, s * length, length), cosines.narrow(0, s * length, length));
    }
    best.epochs = epoch;
    best.training_loss = loss / static_cast<double>(trained);
    const double validation = MeanSquaredError(training.network(), last_inputs, last_cosines);
    ++without_gain;
    if (validation < best.validation_loss) {
      best.validation_loss = validation;
      best.network = {training.network().first.clone(), training.network().second.clone()};
      without_gain = 0;
    }
    RETURN_IF_ERROR(after_epoch(epoch));
  }
  return best;
}

}  // namespace quantmoe
