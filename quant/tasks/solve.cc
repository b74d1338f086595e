// solve: all linears of one part at all candidate widths. Hessians are summed over the shards in shard order.
#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/distortion_table.h"
#include "quant/gptq/device_solver.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/packing.h"
#include "quant/model/decoder.h"
#include "quant/tasks/block_probe.h"
#include "quant/tasks/expert_rows.h"
#include "quant/tasks/part_task.h"
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

// Mean of |W_ij| times the norm of input channel j over the calibration tokens: the scripts' wanda-style
// score.
double WandaScore(const at::Tensor& weight, const at::Tensor& hessian) {
  const at::Tensor norms = hessian.diagonal().clamp_min(0).sqrt();
  return (weight.abs() * norms).mean(1).sum(at::kDouble).item<double>() / static_cast<double>(weight.size(0));
}

// One part: its weights, the Hessians of its inputs, and what solving them gives. On a GPU everything but the
// attention itself, whose inputs and probe are computed on the CPU.
class PartSolver : public PartTask {
 public:
  using PartTask::PartTask;

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
  absl::StatusOr<at::Tensor> DeviceShard(const std::string& role, const std::string& name, size_t shard) {
    ASSIGN_OR_RETURN(const at::Tensor tensor, Shard(role, name, shard));
    return upload_(tensor);
  }

  absl::Status SolveAttention() {
    ASSIGN_OR_RETURN(const DecoderLayer layer, DecoderLayer::Load(model_.spec, part_.layer, weights_));
    std::vector<InputGroup> groups = GroupByInput();
    std::vector<at::Tensor> sample, stream;
    Batches sampled;
    const size_t shards = arguments_.InputSeries("hidden").size(), stride = (shards + 3) / 4;
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor hidden, Shard("hidden", "hidden", s));
      const at::Tensor x = layer.AttentionInput(hidden.flatten(0, 1));
      if (s % stride == 0) {
        const int64_t length = std::min(hidden.size(1), kProbeTokens / 4);
        sampled.push_back({1, length});
        sample.push_back(FirstRows(x, length));
        stream.push_back(FirstRows(hidden[0], length));
      }
      for (InputGroup& group : groups) {
        const LinearKind kind = part_.linears[group.linears.front()].kind;
        group.sum.Add(upload_(layer.attention().InputOf(kind, x, {{hidden.size(0), hidden.size(1)}})));
      }
      upload_.EndRound();
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    std::vector<LinearKind> kinds;
    for (const Linear& linear : part_.linears) kinds.push_back(linear.kind);
    const BlockProbe probe =
        AttentionProbe(layer.attention(), kinds, at::cat(sample, 0), at::cat(stream, 0),
                       model_.spec.residual_multiplier, sampled, groups.front().sum.tokens());
    for (InputGroup& group : groups) {
      std::vector<LinearTarget> targets;
      for (const size_t i : group.linears) {
        targets.push_back(Target(i, upload_(layer.attention().Weight(part_.linears[i].kind))));
      }
      RETURN_IF_ERROR(SolveInput(std::move(group.sum), std::move(targets), probe));
    }
    return absl::OkStatus();
  }

  // Linears of the attention block that see the same input, and the Hessian of that input.
  struct InputGroup {
    std::vector<size_t> linears;
    Hessian sum;
  };

  std::vector<InputGroup> GroupByInput() const {
    std::vector<InputGroup> groups;
    for (std::vector<size_t>& linears : LinearsByInput()) {
      const int64_t in = part_.linears[linears.front()].in;
      groups.push_back({std::move(linears), Hessian(in, device_.device)});
    }
    return groups;
  }

  absl::Status SolveMlp() {
    ASSIGN_OR_RETURN(const GatedMlp mlp, GatedMlp::Load(model_.spec, part_.linears[0], part_.linears[1],
                                                        part_.linears[2], device_weights_));
    Hessian inputs(model_.spec.hidden, device_.device), inner(part_.linears[2].in, device_.device);
    const size_t shards = arguments_.InputSeries("ffn_input").size();
    ProbeRows probe_rows(shards, device_.device);
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor x, DeviceShard("ffn_input", "ffn_input", s));
      ASSIGN_OR_RETURN(const at::Tensor stream_squares, DeviceShard("ffn_input", "stream_squares", s));
      at::Tensor factors;
      if (part_.kind == PartKind::kShared) {
        ASSIGN_OR_RETURN(factors, SharedFactor(model_.spec, part_.layer, x, device_weights_));
      }
      probe_rows.Add(x, stream_squares, factors);
      inputs.Add(x);
      inner.Add(mlp.Inner(x));
      upload_.EndRound();
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    const BlockProbe probe = probe_rows.Probe(mlp, model_.spec.hidden, inputs.tokens());
    RETURN_IF_ERROR(SolveInput(std::move(inputs), TargetsOf(mlp, {0, 1}), probe));
    return SolveInput(std::move(inner), TargetsOf(mlp, {2}), probe);
  }

  absl::Status SolveExperts() {
    ASSIGN_OR_RETURN(const std::vector<Dispatch> dispatches,
                     Dispatches(arguments_.InputSeries("ffn_input").size()));
    const int together = SolvesTogether(device_, options_) ? part_.num_experts : 1;
    for (int first = 0; first < part_.num_experts; first += together) {
      const int end = std::min(first + together, part_.num_experts);
      RETURN_IF_ERROR(SolveExpertRun(first, end, dispatches));
      context_.progress(static_cast<double>(end) / part_.num_experts, "solve");
    }
    // A run records its gates and ups before its downs.
    std::stable_sort(table_.rows.begin(), table_.rows.end(),
                     [](const auto& a, const auto& b) { return a.linear.expert < b.linear.expert; });
    return absl::OkStatus();
  }

  // An expert while its Hessians are summed.
  struct ExpertSums {
    size_t first;  // of its linears in the part
    int expert;
    GatedMlp mlp;
    ExpertRows calibration;
    Hessian inputs, inner, sample_inputs, sample_inner;
    ProbeRows probe_rows;
  };

  absl::StatusOr<ExpertSums> StartExpert(int i, const std::vector<Dispatch>& dispatches) {
    const size_t first = static_cast<size_t>(i) * 3;
    const int expert = part_.first_expert + i;
    ASSIGN_OR_RETURN(GatedMlp mlp, GatedMlp::Load(model_.spec, part_.linears[first], part_.linears[first + 1],
                                                  part_.linears[first + 2], device_weights_));
    return ExpertSums{
        first,
        expert,
        std::move(mlp),
        ExpertRows(dispatches, expert, model_.spec.hidden, experts_, model_.spec.moe.scale_input),
        Hessian(model_.spec.hidden, device_.device),
        Hessian(model_.spec.moe.width, device_.device),
        Hessian(model_.spec.hidden, device_.device),
        Hessian(model_.spec.moe.width, device_.device),
        ProbeRows(dispatches.size(), device_.device)};
  }

  absl::Status AddShard(size_t shard, const std::vector<Dispatch>& dispatches,
                        std::vector<ExpertSums>& experts) {
    ASSIGN_OR_RETURN(const at::Tensor x, DeviceShard("ffn_input", "ffn_input", shard));
    ASSIGN_OR_RETURN(const at::Tensor stream_squares, DeviceShard("ffn_input", "stream_squares", shard));
    for (ExpertSums& e : experts) {
      RETURN_IF_ERROR(CheckCancelled(context_));
      const at::Tensor tokens = upload_(dispatches[shard].Tokens(e.expert));
      const at::Tensor weights = upload_(dispatches[shard].Weights(e.expert));
      e.probe_rows.Add(ExpertInput(model_.spec.moe, x.index_select(0, tokens), weights),
                       stream_squares.index_select(0, tokens), OutputWeights(model_.spec.moe, weights));
      const at::Tensor rows = Scaled(x.index_select(0, upload_(e.calibration.Tokens(shard, x.size(0)))),
                                     upload_(e.calibration.InputScales(shard, x.size(0))));
      const at::Tensor scales = upload_(e.calibration.Scales(shard));
      e.inputs.Add(Scaled(rows, scales));
      e.inner.Add(Scaled(e.mlp.Inner(rows), scales));
      const at::Tensor sample = Scaled(x.index_select(0, upload_(e.calibration.Sample(x.size(0)))),
                                       upload_(e.calibration.SampleScale()));
      e.sample_inputs.Add(sample);
      e.sample_inner.Add(e.mlp.Inner(sample));
    }
    upload_.EndRound();
    return absl::OkStatus();
  }

  // Experts [first, end) of the part.
  absl::Status SolveExpertRun(int first, int end, const std::vector<Dispatch>& dispatches) {
    std::vector<ExpertSums> experts;
    for (int i = first; i < end; ++i) {
      ASSIGN_OR_RETURN(ExpertSums sums, StartExpert(i, dispatches));
      experts.push_back(std::move(sums));
    }
    for (size_t s = 0; s < dispatches.size(); ++s) RETURN_IF_ERROR(AddShard(s, dispatches, experts));
    std::vector<BlockProbe> probes;
    for (const ExpertSums& e : experts) {
      probes.push_back(e.probe_rows.Probe(e.mlp, model_.spec.hidden, e.calibration.routed()));
    }
    std::vector<SharedInput> inputs, inner;
    for (ExpertSums& e : experts) {
      const double pull = e.calibration.SupportWeight(e.sample_inputs.tokens());
      inputs.push_back(
          {{std::move(e.inputs)}, TargetsOf(e.mlp, {0, 1}, e.first), {std::move(e.sample_inputs)}, pull});
      inner.push_back(
          {{std::move(e.inner)}, TargetsOf(e.mlp, {2}, e.first), {std::move(e.sample_inner)}, pull});
    }
    RETURN_IF_ERROR(SolveInputs(std::move(inputs), probes));
    RETURN_IF_ERROR(SolveInputs(std::move(inner), probes));
    for (const ExpertSums& e : experts) CorrectRows(e);
    return absl::OkStatus();
  }

  // The table counts the expert's own tokens.
  void CorrectRows(const ExpertSums& e) {
    for (DistortionRow& row : table_.rows) {
      if (row.linear.expert != e.expert) continue;
      row.tokens = e.calibration.routed();
      if (e.calibration.all_tokens() && row.method == "gptq") row.method = "gptq_all_tokens";
    }
  }

  // Linear number `linear` of the part at all candidate widths.
  LinearTarget Target(size_t linear, at::Tensor weight) const {
    return {linear, part_.linears[linear].name, std::move(weight), options_.widths};
  }
  // Linears of an MLP whose gate is linear number `gate` of the part.
  std::vector<LinearTarget> TargetsOf(const GatedMlp& mlp, std::initializer_list<size_t> which,
                                      size_t gate = 0) const {
    std::vector<LinearTarget> targets;
    for (const size_t i : which) targets.push_back(Target(gate + i, mlp.Weight(i)));
    return targets;
  }

  absl::Status SolveInput(Hessian sum, std::vector<LinearTarget> linears, const BlockProbe& probe) {
    std::vector<SharedInput> inputs;
    inputs.push_back({.own = {std::move(sum)}, .linears = std::move(linears)});
    return SolveInputs(std::move(inputs), {probe});
  }

  // `probes` measure the errors in the linears of each input.
  absl::Status SolveInputs(std::vector<SharedInput> inputs, const std::vector<BlockProbe>& probes) {
    return SolveShared(std::move(inputs), options_, device_, [&](const SolvedLinear& solved) {
      Record(solved, probes[solved.input]);
      return absl::OkStatus();
    });
  }

  void Record(const SolvedLinear& solved, const BlockProbe& probe) {
    const SolveFactor& factor = solved.factor;
    const at::Tensor& weight = solved.target.weight;
    const Linear& linear = part_.linears[solved.target.id];
    DistortionRow row{.linear = linear,
                      .tokens = factor.tokens,
                      .damp = factor.damp,
                      .method = factor.Method(),
                      .fallback = factor.fallback,
                      .outlier_score = OutlierScore(weight),
                      .widths = {},
                      .wanda_score = WandaScore(weight, factor.hessian),
                      .effective_rank = factor.effective_rank};
    // What the linear gives when nothing is wrong: errors are shares of it.
    const double signal = Distortion(weight, factor.hessian);
    for (const auto& [width, quantized] : solved.widths) {
      // Cancellation can leave a tiny negative rest where the error is zero.
      const double distortion = std::max(0.0, quantized.distortion);
      const at::Tensor restored = Dequantize(quantized.codes, quantized.scales, width, options_.group_size);
      const BlockProbe::Errors errors = probe.Measure(solved.target.id, weight - restored);
      row.widths[width] = {distortion, signal > 0 ? distortion / signal : 0.0, errors.block, errors.gated};
      packed_[width][linear.name + ".qweight"] = PackRows(quantized.codes.cpu(), width);
      packed_[width][linear.name + ".scales"] = quantized.scales.cpu();
    }
    table_.rows.push_back(std::move(row));
  }

  absl::StatusOr<TaskOutputs> Store() {
    TaskOutputs outputs;
    table_.layer = part_.layer;
    table_.part = part_.index;
    for (const auto& [width, tensors] : packed_) {
      ASSIGN_OR_RETURN(const Digest digest, PutTensors(context_.blobs, tensors));
      table_.blobs[width] = digest;
      outputs.push_back({absl::StrCat("w", width), digest});
    }
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(PartTableToJson(table_)));
    outputs.push_back({"table", digest});
    return outputs;
  }

  std::map<int, NamedTensors> packed_;
  PartTable table_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunSolve(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(Part part, PartOfTask(arguments, model));
  PartSolver solver(model, std::move(part), arguments, context);
  RETURN_IF_ERROR(solver.ReadOptions());
  return solver.Run();
}

}  // namespace quantmoe
