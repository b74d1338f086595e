// solve: all linears of one part at all candidate widths. Hessians are summed over the shards in shard order.
#include <algorithm>
#include <functional>

#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/distortion_table.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/solver.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/expert_rows.h"
#include "quant/tasks/solve_options.h"
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

// Tokens on which the error of a whole block is measured. All of them would cost as much as the solve itself.
constexpr int64_t kProbeTokens = 1024;

// Measures what a block puts into the residual stream when one of its linears is quantized, over a sample of
// tokens. The next norm divides every token by its length, so errors count relative to the token's own
// stream.
class BlockProbe {
 public:
  // `block` computes the output of the block with `weight` in its linear number `which` (of the part).
  using Block = std::function<at::Tensor(size_t which, const at::Tensor& weight)>;
  // The inputs of that linear for the sampled tokens.
  using Inputs = std::function<at::Tensor(size_t which)>;
  // `energy` [sampled] is the squared stream of each sampled token.
  BlockProbe(Block block, at::Tensor reference, const at::Tensor& energy, int64_t tokens)
      : block_(std::move(block)),
        reference_(std::move(reference)),
        weights_(energy.clamp_min(1e-20).reciprocal()),
        tokens_(tokens) {}

  // `gates` [sampled, 1] are the factors on the outputs of the sampled tokens.
  void SetGates(Inputs inputs, at::Tensor gates) {
    inputs_ = std::move(inputs);
    gates_ = std::move(gates);
  }

  // WidthFacts::gate_distortion of a linear whose weight has this error; 0 without gates.
  double GateDistortion(size_t which, const at::Tensor& error) const {
    const int64_t sampled = reference_.size(0);
    if (sampled == 0 || !gates_.defined()) return 0;
    const at::Tensor errors = at::matmul(inputs_(which), error.t()).pow(2).sum(1, /*keepdim=*/true) * gates_;
    return errors.sum(0).sum(at::kDouble).item<double>() * static_cast<double>(tokens_) /
           static_cast<double>(sampled);
  }

  // Sum over tokens of |error|^2 / |stream|^2, scaled from the sample to all tokens. 0 when there is no
  // sample.
  double Error(size_t which, const at::Tensor& weight) const {
    const int64_t sampled = reference_.size(0);
    if (sampled == 0) return 0;
    const at::Tensor errors = (block_(which, weight) - reference_).pow(2).sum(1).mul(weights_);
    return errors.sum(at::kDouble).item<double>() * static_cast<double>(tokens_) /
           static_cast<double>(sampled);
  }

 private:
  Block block_;
  at::Tensor reference_;  // [sampled, hidden]
  at::Tensor weights_;    // [sampled]
  int64_t tokens_;
  Inputs inputs_;
  at::Tensor gates_;  // [sampled, 1], undefined when there are none
};

// A sample of the rows that are added: equally many of each shard, because texts change on the way. Each has
// a factor on its output.
class ProbeRows {
 public:
  explicit ProbeRows(size_t shards)
      : per_shard_(std::max<int64_t>(1, kProbeTokens / static_cast<int64_t>(shards))) {}

  void Add(const at::Tensor& rows, const at::Tensor& energy, const at::Tensor& factors) {
    const int64_t take = std::min(rows.size(0), per_shard_);
    rows_.push_back(rows.slice(0, 0, take));
    energy_.push_back(energy.slice(0, 0, take));
    if (factors.defined()) factors_.push_back(factors.slice(0, 0, take));
    count_ += take;
  }

  // The probe of a gated MLP on these rows, out of `tokens` in all.
  BlockProbe Probe(const GatedMlp& mlp, int64_t hidden, int64_t tokens) const {
    const at::Tensor rows = count_ > 0 ? at::cat(rows_, 0) : at::empty({0, hidden});
    const at::Tensor energy = count_ > 0 ? at::cat(energy_, 0) : at::empty({0});
    const at::Tensor factors = factors_.empty() ? at::ones({count_, 1}) : at::cat(factors_, 0);
    BlockProbe probe(
        [mlp, rows, factors](size_t which, const at::Tensor& weight) {
          return mlp.With(which % 3, weight).Forward(rows) * factors;
        },
        mlp.Forward(rows) * factors, energy, tokens);
    const at::Tensor inner = mlp.Inner(rows);
    const auto inputs = [rows, inner](size_t which) { return which % 3 == 2 ? inner : rows; };
    if (!factors_.empty()) probe.SetGates(inputs, factors);
    return probe;
  }

 private:
  std::vector<at::Tensor> rows_, energy_, factors_;
  const int64_t per_shard_;
  int64_t count_ = 0;
};

// One part: its weights, the Hessians of its inputs, and what solving them gives.
class PartSolver {
 public:
  PartSolver(const OpenedModel& model, Part part, const TaskArguments& arguments, TaskContext& context)
      : model_(model),
        part_(std::move(part)),
        arguments_(arguments),
        context_(context),
        weights_(model.spec, model.checkpoint, at::kFloat) {}

  absl::Status ReadOptions() {
    ASSIGN_OR_RETURN(options_, ReadSolveOptions(arguments_, context_));
    ASSIGN_OR_RETURN(experts_, ReadExpertCalibration(arguments_));
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
    std::vector<InputGroup> groups = GroupByInput();
    std::vector<at::Tensor> sample, stream;
    int64_t length = 0;
    const size_t shards = arguments_.InputSeries("hidden").size(), stride = (shards + 3) / 4;
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor hidden, Shard("hidden", "hidden", s));
      length = std::min(hidden.size(1), kProbeTokens / 4);
      const at::Tensor x = layer.AttentionInput(hidden.flatten(0, 1));
      if (s % stride == 0) {
        // The start of the shard's first sequence: equally long pieces make one batch.
        sample.push_back(x.slice(0, 0, length));
        stream.push_back(hidden[0].slice(0, 0, length));
      }
      for (InputGroup& group : groups) {
        const LinearKind kind = part_.linears[group.linears.front()].kind;
        group.sum.Add(layer.attention().InputOf(kind, x, {{hidden.size(0), hidden.size(1)}}));
      }
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    const BlockProbe probe = AttentionProbe(layer.attention(), at::cat(sample, 0), at::cat(stream, 0), length,
                                            groups.front().sum.tokens());
    for (InputGroup& group : groups) {
      RETURN_IF_ERROR(SolveShared(std::move(group.sum), group.linears, probe));
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
    std::map<LinearKind, size_t> index;
    for (size_t i = 0; i < part_.linears.size(); ++i) {
      const Linear& linear = part_.linears[i];
      const auto [at, added] = index.try_emplace(AttentionInputOf(linear.kind), groups.size());
      if (added) groups.push_back({{}, Hessian(linear.in)});
      groups[at->second].linears.push_back(i);
    }
    return groups;
  }

  BlockProbe AttentionProbe(const Attention& attention, const at::Tensor& sample, const at::Tensor& stream,
                            int64_t length, int64_t tokens) const {
    const Batches batches = {{sample.size(0) / length, length}};
    const at::Tensor output = attention.Project(attention.Context(sample, batches));
    const at::Tensor energy = (stream + output * model_.spec.residual_multiplier).pow(2).sum(1);
    return BlockProbe(
        [this, attention, sample, batches](size_t which, const at::Tensor& weight) {
          const Attention changed = attention.With(part_.linears[which].kind, weight);
          return changed.Project(changed.Context(sample, batches));
        },
        output, energy, tokens);
  }

  absl::Status SolveMlp() {
    ASSIGN_OR_RETURN(const GatedMlp mlp, GatedMlp::Load(model_.spec, part_.linears[0], part_.linears[1],
                                                        part_.linears[2], weights_));
    Hessian inputs(model_.spec.hidden), inner(part_.linears[2].in);
    const size_t shards = arguments_.InputSeries("ffn_input").size();
    ProbeRows probe_rows(shards);
    for (size_t s = 0; s < shards; ++s) {
      ASSIGN_OR_RETURN(const at::Tensor x, Shard("ffn_input", "ffn_input", s));
      ASSIGN_OR_RETURN(const at::Tensor energy, Shard("ffn_input", "energy", s));
      at::Tensor factors;
      if (part_.kind == PartKind::kShared) {
        ASSIGN_OR_RETURN(factors, SharedFactor(model_.spec, part_.layer, x, weights_));
      }
      probe_rows.Add(x, energy, factors);
      inputs.Add(x);
      inner.Add(mlp.Inner(x));
      context_.progress(0.5 * static_cast<double>(s + 1) / static_cast<double>(shards), "hessian");
    }
    const BlockProbe probe = probe_rows.Probe(mlp, model_.spec.hidden, inputs.tokens());
    RETURN_IF_ERROR(SolveShared(std::move(inputs), {0, 1}, probe));
    return SolveShared(std::move(inner), {2}, probe);
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
      RETURN_IF_ERROR(SolveExpert(i, dispatches));
      context_.progress(static_cast<double>(i + 1) / part_.num_experts, "solve");
    }
    return absl::OkStatus();
  }

  absl::Status SolveExpert(int i, const std::vector<Dispatch>& dispatches) {
    const size_t first = static_cast<size_t>(i) * 3;
    const int expert = part_.first_expert + i;
    ASSIGN_OR_RETURN(const GatedMlp mlp,
                     GatedMlp::Load(model_.spec, part_.linears[first], part_.linears[first + 1],
                                    part_.linears[first + 2], weights_));
    Hessian inputs(model_.spec.hidden), inner(model_.spec.moe.width);
    const ExpertRows calibration(dispatches, expert, model_.spec.hidden, experts_);
    ProbeRows probe_rows(dispatches.size());
    for (size_t s = 0; s < dispatches.size(); ++s) {
      ASSIGN_OR_RETURN(const at::Tensor x, Shard("ffn_input", "ffn_input", s));
      const at::Tensor tokens = dispatches[s].Tokens(expert);
      ASSIGN_OR_RETURN(const at::Tensor energy, Shard("ffn_input", "energy", s));
      probe_rows.Add(x.index_select(0, tokens), energy.index_select(0, tokens),
                     dispatches[s].Weights(expert));
      const at::Tensor rows = x.index_select(0, calibration.Tokens(s, x.size(0)));
      const at::Tensor scales = calibration.Scales(s, x.size(0));
      inputs.Add(Scaled(rows, scales));
      inner.Add(Scaled(mlp.Inner(rows), scales));
    }
    const BlockProbe probe = probe_rows.Probe(mlp, model_.spec.hidden, calibration.routed());
    RETURN_IF_ERROR(SolveShared(std::move(inputs), {first, first + 1}, probe));
    RETURN_IF_ERROR(SolveShared(std::move(inner), {first + 2}, probe));
    // The table counts the expert's own tokens, not the ones that support them.
    for (size_t row = table_.rows.size() - 3; row < table_.rows.size(); ++row) {
      table_.rows[row].tokens = calibration.routed();
      if (calibration.shrunk() && table_.rows[row].fallback.empty()) table_.rows[row].method = "gptq_shrunk";
    }
    return absl::OkStatus();
  }

  // Solves linears that have the same input, so one factor serves them all.
  absl::Status SolveShared(Hessian sum, const std::vector<size_t>& indices, const BlockProbe& probe) {
    const int64_t tokens = sum.tokens();
    absl::StatusOr<SolveFactor> factor = quantmoe::Factor(sum.Take(), tokens, options_);
    if (!factor.ok()) return Annotate(factor.status(), part_.linears[indices[0]].name);
    for (const size_t index : indices) {
      const Linear& linear = part_.linears[index];
      ASSIGN_OR_RETURN(const at::Tensor weight, weights_.LinearWeight(linear));
      absl::StatusOr<std::map<int, QuantizedLinear>> solved = Solve(weight, *factor, options_);
      if (!solved.ok()) return Annotate(solved.status(), linear.name);
      Record(index, weight, *factor, *solved, probe);
    }
    return absl::OkStatus();
  }

  void Record(size_t index, const at::Tensor& weight, const SolveFactor& factor,
              const std::map<int, QuantizedLinear>& solved, const BlockProbe& probe) {
    const Linear& linear = part_.linears[index];
    DistortionRow row{.linear = linear,
                      .tokens = factor.tokens,
                      .damp = factor.damp,
                      .method = factor.Method(),
                      .fallback = factor.fallback,
                      .outlier_score = OutlierScore(weight),
                      .widths = {},
                      .wanda_score = WandaScore(weight, factor.hessian)};
    const double energy = Distortion(weight, factor.hessian);
    for (const auto& [bits, quantized] : solved) {
      // Cancellation can leave a tiny negative rest where the error is zero.
      const double distortion = std::max(0.0, quantized.distortion);
      const at::Tensor restored = Dequantize(quantized.codes, quantized.scales, bits, options_.group_size);
      row.widths[bits] = {distortion, energy > 0 ? distortion / energy : 0.0, probe.Error(index, restored),
                          probe.GateDistortion(index, weight - restored)};
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
  ExpertCalibration experts_;
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
  RETURN_IF_ERROR(ExpectWeights(model, {parts[index]}));
  PartSolver solver(model, std::move(parts[index]), arguments, context);
  RETURN_IF_ERROR(solver.ReadOptions());
  return solver.Run();
}

}  // namespace quantmoe
