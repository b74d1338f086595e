// solve: all linears of one part at all candidate widths. Hessians are summed over the shards in shard order.
#include <algorithm>

#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/distortion_table.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/solver.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// QuantMoE-Bench (arXiv 2406.08155, section 4.1), outlier-aware linear score: max_j ( max_i |W_ij| / mean_i
// |W_ij| ).
double OutlierScore(const at::Tensor& weight) {
  const at::Tensor magnitude = weight.abs();
  const at::Tensor ratio = magnitude.amax(0) / magnitude.mean(0).clamp_min(1e-30);
  return ratio.max().item<double>();
}

// One part: its weights, the Hessians of its inputs, and what solving them gives.
class PartSolver {
 public:
  PartSolver(const OpenedModel& model, Part part, const TaskArguments& arguments, TaskContext& context)
      : model_(model),
        part_(std::move(part)),
        arguments_(arguments),
        context_(context),
        weights_(model.checkpoint, at::kFloat) {}

  absl::Status ReadOptions() {
    ASSIGN_OR_RETURN(options_.widths, arguments_.Param<std::vector<int>>("widths"));
    ASSIGN_OR_RETURN(options_.group_size, arguments_.Param<int>("group_size"));
    ASSIGN_OR_RETURN(options_.damp, arguments_.Param<double>("damp"));
    ASSIGN_OR_RETURN(options_.act_order, arguments_.Param<bool>("act_order"));
    ASSIGN_OR_RETURN(options_.scale_search, arguments_.Param<bool>("scale_search"));
    ASSIGN_OR_RETURN(options_.min_tokens_ratio, arguments_.Param<double>("min_tokens_ratio"));
    options_.cancelled = &context_.cancelled;
    return absl::OkStatus();
  }

  absl::StatusOr<TaskOutputs> Run() {
    switch (part_.kind) {
      case PartKind::kAttention:
        RETURN_IF_ERROR(SolveAttention());
        break;
      case PartKind::kDense:
      case PartKind::kShared:
        RETURN_IF_ERROR(SolveMlp());
        break;
      case PartKind::kExperts:
        RETURN_IF_ERROR(SolveExperts());
        break;
    }
    return Store();
  }

 private:
  absl::StatusOr<at::Tensor> Shard(const std::string& role, const std::string& name, size_t shard) {
    RETURN_IF_ERROR(CheckCancelled(context_));
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input(absl::StrCat(role, ".", shard)));
    ASSIGN_OR_RETURN(NamedTensors tensors, GetTensors(context_.blobs, digest));
    return tensors.at(name);
  }

  absl::Status SolveAttention() {
    ASSIGN_OR_RETURN(const DecoderLayer layer, DecoderLayer::Load(model_.spec, part_.layer, weights_));
    const AttentionSpec& a = model_.spec.attention;
    Hessian inputs(model_.spec.hidden), contexts(a.heads * a.value_dim);
    const size_t shards = arguments_.InputSeries("hidden").size();
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor hidden, Shard("hidden", "hidden", s));
      const at::Tensor x = layer.AttentionInput(hidden.flatten(0, 1));
      inputs.Add(x);
      contexts.Add(layer.AttentionContext(x, {{hidden.size(0), hidden.size(1)}}));
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    RETURN_IF_ERROR(SolveShared(std::move(inputs), {0, 1, 2}));
    return SolveShared(std::move(contexts), {3});
  }

  absl::Status SolveMlp() {
    ASSIGN_OR_RETURN(const GatedMlp mlp,
                     GatedMlp::Load(part_.linears[0], part_.linears[1], part_.linears[2], weights_));
    Hessian inputs(model_.spec.hidden), inner(part_.linears[2].in);
    const size_t shards = arguments_.InputSeries("ffn_input").size();
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor x, Shard("ffn_input", "ffn_input", s));
      inputs.Add(x);
      inner.Add(mlp.Inner(x));
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    RETURN_IF_ERROR(SolveShared(std::move(inputs), {0, 1}));
    return SolveShared(std::move(inner), {2});
  }

  absl::Status SolveExperts() {
    const size_t shards = arguments_.InputSeries("ffn_input").size();
    std::vector<Dispatch> dispatches;
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor experts, Shard("routing", "experts", s));
      ASSIGN_OR_RETURN(const at::Tensor weights, Shard("routing", "weights", s));
      dispatches.emplace_back(Routing{experts.to(at::kLong), weights}, model_.spec.moe.experts);
    }
    for (int i = 0; i < part_.num_experts; ++i) {
      const size_t first = static_cast<size_t>(i) * 3;
      ASSIGN_OR_RETURN(const GatedMlp mlp, GatedMlp::Load(part_.linears[first], part_.linears[first + 1],
                                                          part_.linears[first + 2], weights_));
      Hessian inputs(model_.spec.hidden), inner(model_.spec.moe.width);
      for (size_t s = 0; s < shards; ++s) {
        ASSIGN_OR_RETURN(const at::Tensor x, Shard("ffn_input", "ffn_input", s));
        const at::Tensor rows = x.index_select(0, dispatches[s].Tokens(part_.first_expert + i));
        inputs.Add(rows);
        inner.Add(mlp.Inner(rows));
      }
      RETURN_IF_ERROR(SolveShared(std::move(inputs), {first, first + 1}));
      RETURN_IF_ERROR(SolveShared(std::move(inner), {first + 2}));
      context_.progress(static_cast<double>(i + 1) / part_.num_experts, "solve");
    }
    return absl::OkStatus();
  }

  // Solves linears that have the same input, so one factor serves them all.
  absl::Status SolveShared(Hessian sum, const std::vector<size_t>& indices) {
    const int64_t tokens = sum.tokens();
    absl::StatusOr<SolveFactor> factor = quantmoe::Factor(sum.Take(), tokens, options_);
    if (!factor.ok()) return Annotate(factor.status(), part_.linears[indices[0]].name);
    for (const size_t index : indices) {
      const Linear& linear = part_.linears[index];
      ASSIGN_OR_RETURN(const at::Tensor weight, weights_.LinearWeight(linear));
      absl::StatusOr<std::map<int, QuantizedLinear>> solved = Solve(weight, *factor, options_);
      if (!solved.ok()) return Annotate(solved.status(), linear.name);
      Record(linear, weight, *factor, *solved);
    }
    return absl::OkStatus();
  }

  void Record(const Linear& linear, const at::Tensor& weight, const SolveFactor& factor,
              const std::map<int, QuantizedLinear>& solved) {
    DistortionRow row{.linear = linear,
                      .tokens = factor.tokens,
                      .damp = factor.damp,
                      .method = "gptq",
                      .fallback = factor.fallback,
                      .outlier_score = OutlierScore(weight),
                      .widths = {}};
    if (!factor.fallback.empty()) row.method = "rtn";
    const double energy = Distortion(weight, factor.hessian);
    for (const auto& [bits, quantized] : solved) {
      // Cancellation can leave a tiny negative rest where the error is zero.
      const double distortion = std::max(0.0, quantized.distortion);
      row.widths[bits] = {distortion, energy > 0 ? distortion / energy : 0.0};
      packed_[bits][linear.name + ".qweight"] = PackRows(quantized.codes, bits);
      packed_[bits][linear.name + ".scales"] = quantized.scales;
    }
    table_.rows.push_back(std::move(row));
  }

  absl::StatusOr<TaskOutputs> Store() {
    TaskOutputs outputs;
    table_.layer = part_.layer;
    table_.part = part_.index;
    for (const auto& [bits, tensors] : packed_) {
      ASSIGN_OR_RETURN(const Digest digest, PutTensors(context_.blobs, tensors));
      table_.blobs[bits] = digest;
      outputs.push_back({absl::StrCat("w", bits), digest});
    }
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(PartTableToJson(table_)));
    outputs.push_back({"table", digest});
    return outputs;
  }

  const OpenedModel& model_;
  const Part part_;
  const TaskArguments& arguments_;
  TaskContext& context_;
  CheckpointWeights weights_;
  SolveOptions options_;
  std::map<int, NamedTensors> packed_;
  PartTable table_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunSolve(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const size_t index, arguments.Param<size_t>("part"));
  std::vector<Part> parts = CutLayer(model.spec, layer);
  if (index >= parts.size())
    return absl::InvalidArgumentError(absl::StrCat("layer ", layer, " has no part ", index));
  PartSolver solver(model, std::move(parts[index]), arguments, context);
  RETURN_IF_ERROR(solver.ReadOptions());
  return solver.Run();
}

}  // namespace quantmoe
