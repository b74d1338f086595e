// forward: one layer over one calibration shard, with the original weights.
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// INVALID_ARGUMENT that names the layer and the tensor; the weights themselves were checked when they were
// read.
absl::Status CheckFinite(const at::Tensor& tensor, int layer, absl::string_view what) {
  if (at::isfinite(tensor).all().item<bool>()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                   absl::StrCat("layer ", layer, ": ", what, " hold NaN or infinite values"));
}

absl::StatusOr<BlobRef> PutCounts(const Routing& routing, int layer, int64_t experts, BlobStore& blobs) {
  const at::Tensor counts = at::bincount(routing.experts.flatten(), {}, experts);
  const nlohmann::json json = {{"layer", layer},
                               {"counts", std::vector<int64_t>(counts.const_data_ptr<int64_t>(),
                                                               counts.const_data_ptr<int64_t>() + experts)}};
  ASSIGN_OR_RETURN(const Digest digest, blobs.Put(json.dump()));
  return BlobRef{"counts", digest};
}

}  // namespace

absl::StatusOr<TaskOutputs> RunForward(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const Digest input, arguments.Input("hidden"));
  ASSIGN_OR_RETURN(NamedTensors tensors, GetTensors(context.blobs, input));
  const at::Tensor stored = tensors.at("hidden");  // [sequences, length, hidden]
  const Batches batches = {{stored.size(0), stored.size(1)}};
  const at::Tensor hidden = stored.flatten(0, 1);
  CheckpointWeights weights(model.checkpoint, at::kFloat);
  ASSIGN_OR_RETURN(const DecoderLayer loaded, DecoderLayer::Load(model.spec, layer, weights));
  const at::Tensor middle =
      loaded.AddAttention(hidden, loaded.AttentionContext(loaded.AttentionInput(hidden), batches));
  const at::Tensor ffn_input = loaded.FfnInput(middle);
  RETURN_IF_ERROR(CheckFinite(ffn_input, layer, "the inputs of the feed-forward part"));
  context.progress(0.5, "attention");
  RETURN_IF_ERROR(CheckCancelled(context));

  const Routing routing = loaded.Route(ffn_input);
  ASSIGN_OR_RETURN(const at::Tensor ffn, FeedForward(model.spec, layer, ffn_input, routing, weights));
  const at::Tensor next = middle + ffn * model.spec.residual_multiplier;
  RETURN_IF_ERROR(CheckFinite(next, layer, "the outputs"));

  TaskOutputs outputs;
  // The energy of the stream after the layer is what errors of its experts are measured against.
  ASSIGN_OR_RETURN(const Digest ffn_digest, PutTensors(context.blobs, {{"ffn_input", ffn_input.contiguous()},
                                                                       {"energy", next.pow(2).sum(1)}}));
  outputs.push_back({"ffn_input", ffn_digest});
  if (model.spec.layers[static_cast<size_t>(layer)].moe) {
    ASSIGN_OR_RETURN(const Digest digest,
                     PutTensors(context.blobs, {{"experts", routing.experts.to(at::kInt).contiguous()},
                                                {"weights", routing.weights.contiguous()}}));
    outputs.push_back({"routing", digest});
    ASSIGN_OR_RETURN(BlobRef counts, PutCounts(routing, layer, model.spec.moe.experts, context.blobs));
    outputs.push_back(std::move(counts));
  }
  if (layer + 1 < model.spec.num_layers()) {
    ASSIGN_OR_RETURN(const Digest digest,
                     PutTensors(context.blobs, {{"hidden", next.view(stored.sizes()).contiguous()}}));
    outputs.push_back({"hidden", digest});
  }
  context.progress(1.0, "stored");
  return outputs;
}

}  // namespace quantmoe
