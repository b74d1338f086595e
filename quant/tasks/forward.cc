// forward: one layer over one calibration shard. With the original weights it is one task; in the quantized
// pass it is two, because the feed-forward weights are solved between attention and the rest (`half`).
#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/gptq/finite.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/stream_shard.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// INVALID_ARGUMENT that names the layer and the tensor; the weights themselves were checked when they were
// read.
absl::Status CheckFinite(const at::Tensor& tensor, int layer, absl::string_view what) {
  if (AllFinite(tensor)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                   absl::StrCat("layer ", layer, ": ", what, " hold NaN or infinite values"));
}

double Cosine(const float* a, const float* b, int64_t width) {
  double dot = 0, a_square = 0, b_square = 0;
  for (int64_t i = 0; i < width; ++i) {
    const double x = a[i], y = b[i];
    dot += x * y;
    a_square += x * x;
    b_square += y * y;
  }
  return dot / std::sqrt(std::max(a_square * b_square, 1e-30));
}

// Sum over tokens of the cosine between two rows, in the order of the tokens.
double CosineSum(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kFloat).contiguous(), y = b.to(at::kFloat).contiguous();
  const int64_t width = x.size(1);
  double sum = 0;
  for (int64_t t = 0; t < x.size(0); ++t) {
    sum += Cosine(x.const_data_ptr<float>() + t * width, y.const_data_ptr<float>() + t * width, width);
  }
  return sum;
}

// Counts and router weights of the experts. Tokens in order, so that sums are the same for any thread count.
RoutingCounts CountRouting(const Routing& routing, int layer, int64_t experts) {
  RoutingCounts counts;
  counts.layer = layer;
  counts.tokens = routing.experts.size(0);
  counts.counts.resize(static_cast<size_t>(experts));
  counts.router_weights.resize(static_cast<size_t>(experts));
  const at::Tensor ids = routing.experts.contiguous();
  const at::Tensor weights = routing.weights.to(at::kFloat).contiguous();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const auto expert = static_cast<size_t>(ids.const_data_ptr<int64_t>()[i]);
    ++counts.counts[expert];
    counts.router_weights[expert] += static_cast<double>(weights.const_data_ptr<float>()[i]);
  }
  return counts;
}

// The quantized weights of the fragments "plan.<n>" in front of the original ones; null when there are none.
absl::StatusOr<std::unique_ptr<PlannedWeights>> ReSolvedWeights(const TaskArguments& arguments,
                                                                WeightSource& original, BlobStore& blobs) {
  BitPlan plan;
  for (const Digest& digest : arguments.InputSeries("plan")) {
    ASSIGN_OR_RETURN(const MappedFile text, blobs.Open(digest));
    ASSIGN_OR_RETURN(const BitPlan fragment, BitPlanFromJson(text.bytes()));
    plan.group_size = fragment.group_size;
    plan.linears.insert(plan.linears.end(), fragment.linears.begin(), fragment.linears.end());
  }
  if (plan.linears.empty()) return nullptr;
  return std::make_unique<PlannedWeights>(plan, original, blobs);
}

class LayerPass {
 public:
  LayerPass(const OpenedModel& model, int layer, const TaskArguments& arguments, TaskContext& context)
      : model_(model),
        layer_(layer),
        arguments_(arguments),
        context_(context),
        original_(model.spec, model.checkpoint, at::kFloat) {}

  absl::StatusOr<TaskOutputs> Run() {
    ASSIGN_OR_RETURN(re_solved_, ReSolvedWeights(arguments_, original_, context_.blobs));
    const std::string half = arguments_.params().value("half", "");
    if (half == "feed_forward") {
      RETURN_IF_ERROR(TakeUp());
      RETURN_IF_ERROR(FeedForwardHalf());
      return std::move(outputs_);
    }
    RETURN_IF_ERROR(AttentionHalf());
    context_.progress(0.5, "attention");
    RETURN_IF_ERROR(CheckCancelled(context_));
    if (half == "attention") {
      RETURN_IF_ERROR(Put("middle", {{"middle", middle_.view(shape_)}}));
      RETURN_IF_ERROR(Put("ffn_input", {{"ffn_input", ffn_input_.contiguous()}}));
      RETURN_IF_ERROR(PutRouting());
      return std::move(outputs_);
    }
    RETURN_IF_ERROR(FeedForwardHalf());
    // Errors of the experts are measured against the squared length of the stream after the layer.
    RETURN_IF_ERROR(
        Put("ffn_input", {{"ffn_input", ffn_input_.contiguous()}, {"stream_squares", next_.pow(2).sum(1)}}));
    RETURN_IF_ERROR(PutRouting());
    RETURN_IF_ERROR(PutCounts());
    RETURN_IF_ERROR(PutStream());
    return std::move(outputs_);
  }

 private:
  WeightSource& weights() { return re_solved_ ? static_cast<WeightSource&>(*re_solved_) : original_; }
  bool moe() const { return model_.spec.layers[static_cast<size_t>(layer_)].moe; }

  absl::Status AttentionHalf() {
    ASSIGN_OR_RETURN(const at::Tensor stored, Tensor("hidden", "hidden"));  // [sequences, length, hidden]
    shape_ = stored.sizes().vec();
    const Batches batches = {{stored.size(0), stored.size(1)}};
    hidden_ = stored.flatten(0, 1);
    ASSIGN_OR_RETURN(const DecoderLayer loaded, DecoderLayer::Load(model_.spec, layer_, weights()));
    const at::Tensor first = hidden_.narrow(0, 0, std::min(stored.size(1), kAttentionTokens));
    received_ = loaded.attention().Received(loaded.AttentionInput(first));
    AttentionTrace trace = loaded.RunAttention(hidden_, batches);
    middle_ = std::move(trace.stream);
    ffn_input_ = std::move(trace.ffn_input);
    RETURN_IF_ERROR(CheckFinite(ffn_input_, layer_, "the inputs of the feed-forward part"));
    routing_ = loaded.Route(ffn_input_);
    return absl::OkStatus();
  }

  // What the attention half left.
  absl::Status TakeUp() {
    ASSIGN_OR_RETURN(const at::Tensor middle, Tensor("middle", "middle"));
    shape_ = middle.sizes().vec();
    middle_ = middle.flatten(0, 1);
    ASSIGN_OR_RETURN(ffn_input_, Tensor("ffn_input", "ffn_input"));
    if (!moe()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const at::Tensor experts, Tensor("routing", "experts"));
    ASSIGN_OR_RETURN(routing_.weights, Tensor("routing", "weights"));
    routing_.experts = experts.to(at::kLong);
    return absl::OkStatus();
  }

  absl::Status FeedForwardHalf() {
    ASSIGN_OR_RETURN(ffn_, FeedForward(model_.spec, layer_, ffn_input_, routing_, weights(), &peaks_));
    next_ = at::add(middle_, ffn_, model_.spec.residual_multiplier);
    RETURN_IF_ERROR(CheckFinite(next_, layer_, "the outputs"));
    const bool last = layer_ + 1 == model_.spec.num_layers();
    if (last && !arguments_.params().contains("sample")) return absl::OkStatus();
    return Put("hidden", {{"hidden", next_.view(shape_).contiguous()}});
  }

  absl::Status PutRouting() {
    if (!moe()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const Digest digest,
                     PutTensors(context_.blobs, {{"experts", routing_.experts.to(at::kInt).contiguous()},
                                                 {"weights", routing_.weights.contiguous()}}));
    outputs_.push_back({"routing", digest});
    return absl::OkStatus();
  }

  // What heuristics rank experts and layers by.
  absl::Status PutCounts() {
    if (!moe()) return absl::OkStatus();
    RoutingCounts counts = CountRouting(routing_, layer_, model_.spec.moe.experts);
    counts.ffn_cosine = CosineSum(ffn_input_, ffn_);
    counts.stream_cosine = CosineSum(hidden_, next_);
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(RoutingCountsToJson(counts)));
    outputs_.push_back({"counts", digest});
    return absl::OkStatus();
  }

  absl::Status PutStream() {
    const StreamStatistics statistics =
        StatisticsOfShard(layer_, next_, shape_[1], received_, peaks_, routing_);
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(StreamStatisticsJson(statistics).dump()));
    outputs_.push_back({"stream", digest});
    return absl::OkStatus();
  }

  absl::StatusOr<at::Tensor> Tensor(const std::string& role, const std::string& name) {
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input(role));
    ASSIGN_OR_RETURN(const NamedTensors tensors, GetStates(context_.blobs, digest));
    return tensors.at(name);
  }

  absl::Status Put(const std::string& role, const NamedTensors& tensors) {
    ASSIGN_OR_RETURN(const Digest digest, PutStates(arguments_, context_.blobs, tensors));
    outputs_.push_back({role, digest});
    return absl::OkStatus();
  }

  const OpenedModel& model_;
  const int layer_;
  const TaskArguments& arguments_;
  TaskContext& context_;
  CheckpointWeights original_;
  std::unique_ptr<PlannedWeights> re_solved_;
  std::vector<int64_t> shape_;  // [sequences, length, hidden]
  at::Tensor middle_;           // the residual stream between the halves
  at::Tensor hidden_, ffn_input_, ffn_, next_;
  at::Tensor received_;  // StatisticsOfShard
  OutputPeaks peaks_;
  Routing routing_;
  TaskOutputs outputs_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunForward(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  // In the quantized pass the original weights are not read.
  if (!arguments.params().contains("half")) {
    RETURN_IF_ERROR(ExpectWeights(model, CutLayer(model.spec, layer)));
  }
  return LayerPass(model, layer, arguments, context).Run();
}

}  // namespace quantmoe
