// QuantMoE-Bench's block importance predictor (arXiv 2406.08155, section 4.2, and its published code): a
// network of one feed-forward block that predicts from an input token the cosine between the block's input
// and output. Blocks with low cosines count as important. The exact mean cosine costs nothing during
// calibration and is what `block-importance` uses unless asked otherwise; this is here to reproduce the
// paper.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

namespace quantmoe {

// As published.
struct PredictorOptions {
  int64_t width = 1024;
  double learning_rate = 1e-4;  // AdamW, betas 0.9 and 0.999
  double weight_decay = 1e-2;
  int max_epochs = 100;
  int patience = 5;       // epochs without a better validation loss
  double held_out = 0.1;  // share of the sequences, the last ones
  uint64_t seed = 0;
};

// tanh(w2 relu(W1 x)), no biases; f32.
struct BlockPredictor {
  at::Tensor first;   // [width, hidden]
  at::Tensor second;  // [1, width]

  at::Tensor Predict(const at::Tensor& x) const;  // [tokens, hidden] -> [tokens]
};

struct TrainedPredictor {
  BlockPredictor network;  // of the epoch with the least validation loss
  int epochs = 0;
  double training_loss = 0;    // mean squared error, of the last epoch
  double validation_loss = 0;  // of `network`
};

// Mean squared error by AdamW, one sequence a step, in the order of the sequences. `inputs` [tokens, hidden]
// and `cosines` [tokens] hold whole sequences of `length` tokens; with a single one, it also validates. f32;
// equal for any number of threads. `after_epoch` may end the training with an error; INVALID_ARGUMENT
// without a whole sequence.
absl::StatusOr<TrainedPredictor> TrainPredictor(const at::Tensor& inputs, const at::Tensor& cosines,
                                                int64_t length, const PredictorOptions& options,
                                                const std::function<absl::Status(int epoch)>& after_epoch);

}  // namespace quantmoe
