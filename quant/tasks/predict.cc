// predict: trains QuantMoE-Bench's importance predictor of one MoE block on the calibration text, and takes
// the mean of what it predicts there.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/model/experts.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/block_predictor.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// Rows in order of the shards; cosines between them and what the block makes of them.
struct Samples {
  at::Tensor inputs;   // [tokens, hidden]
  at::Tensor cosines;  // [tokens]
};

absl::StatusOr<Samples> Collect(const TaskArguments& arguments, TaskContext& context,
                                const OpenedModel& model, int layer) {
  CheckpointWeights original(model.spec, model.checkpoint, at::kFloat);
  const std::vector<Digest> inputs = arguments.InputSeries("ffn_input"),
                            routings = arguments.InputSeries("routing");
  std::vector<at::Tensor> rows, cosines;
  for (size_t s = 0; s < inputs.size(); ++s) {
    RETURN_IF_ERROR(CheckCancelled(context));
    ASSIGN_OR_RETURN(const NamedTensors input, GetTensors(context.blobs, inputs[s]));
    ASSIGN_OR_RETURN(const NamedTensors stored, GetTensors(context.blobs, routings.at(s)));
    Routing routing;
    routing.experts = stored.at("experts").to(at::kLong);
    routing.weights = stored.at("weights");
    const at::Tensor& x = input.at("ffn_input");
    ASSIGN_OR_RETURN(const at::Tensor y, FeedForward(model.spec, layer, x, routing, original));
    const at::Tensor scale = (x.pow(2).sum(1) * y.pow(2).sum(1)).clamp_min(1e-30).sqrt();
    rows.push_back(x);
    cosines.push_back((x * y).sum(1) / scale);
  }
  return Samples{at::cat(rows, 0), at::cat(cosines, 0)};
}

double Mean(const at::Tensor& values) {
  const at::Tensor rows = values.contiguous();
  double sum = 0;
  for (int64_t i = 0; i < rows.size(0); ++i) sum += static_cast<double>(rows.const_data_ptr<float>()[i]);
  return sum / static_cast<double>(rows.size(0));
}

}  // namespace

absl::StatusOr<TaskOutputs> RunPredict(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const int64_t length, arguments.Param<int64_t>("sequence_length"));
  ASSIGN_OR_RETURN(const Samples samples, Collect(arguments, context, model, layer));
  PredictorOptions options;
  ASSIGN_OR_RETURN(options.max_epochs, arguments.Param<int>("epochs"));
  ASSIGN_OR_RETURN(const TrainedPredictor trained,
                   TrainPredictor(samples.inputs, samples.cosines, length, options, [&](int epoch) {
                     context.progress(static_cast<double>(epoch) / options.max_epochs, "epochs");
                     return CheckCancelled(context);
                   }));
  double sum = 0;
  const int64_t tokens = samples.inputs.size(0);
  for (int64_t first = 0; first < tokens; first += length) {
    const int64_t rows = std::min(length, tokens - first);
    sum += Mean(trained.network.Predict(samples.inputs.narrow(0, first, rows))) * static_cast<double>(rows);
  }
  const nlohmann::json importance = {{"layer", layer},
                                     {"predicted_cosine", sum / static_cast<double>(tokens)},
                                     {"exact_cosine", Mean(samples.cosines)},
                                     {"epochs", trained.epochs},
                                     {"training_loss", trained.training_loss},
                                     {"validation_loss", trained.validation_loss}};
  ASSIGN_OR_RETURN(const Digest digest, context.blobs.Put(importance.dump()));
  return TaskOutputs{{"importance", digest}};
}

}  // namespace quantmoe
