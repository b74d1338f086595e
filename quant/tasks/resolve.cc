// resolve: one part at its planned widths, on the inputs that the quantized layers before it give. Within the
// part, too, every linear sees what the quantized ones before it give.
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "quant/gptq/correction.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/solver.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/solve_options.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// The rows that one shard feeds to a block, in the original model and behind quantized layers.
struct PairedRows {
  at::Tensor original;
  at::Tensor quantized;
  Batches batches;
  at::Tensor scales;  // of the rows; undefined: none
};

// Of a shard: the rows that calibrate a block, and those that may support it when it is a cold expert.
struct ShardRows {
  PairedRows own;
  PairedRows sample;  // without rows: none
};
using RowSource = std::function<absl::StatusOr<ShardRows>(size_t shard)>;

// What calibrates the linears of one stage: H' = sum x' x'^T and sum (x - x') x'^T (correction.h).
struct StageSums {
  explicit StageSums(int64_t in) : hessian(in), cross(at::zeros({in, in}, at::kFloat)) {}

  Hessian hessian;
  at::Tensor cross;
};

// A block of the part whose linears get their quantized weights one stage after the other. `first` is the
// place of its first linear in the part.
class Block {
 public:
  virtual ~Block() = default;
  // What linear `which` (of the block) sees when the block is fed `rows`.
  virtual at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches& batches) const = 0;
  virtual void Replace(size_t which, const at::Tensor& weight) = 0;
};

class AttentionBlock : public Block {
 public:
  AttentionBlock(Attention attention, const Part& part) : attention_(std::move(attention)), part_(part) {}
  at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches& batches) const override {
    return attention_.InputOf(part_.linears[which].kind, rows, batches);
  }
  void Replace(size_t which, const at::Tensor& weight) override {
    attention_ = attention_.With(part_.linears[which].kind, weight);
  }

 private:
  Attention attention_;
  const Part& part_;
};

class MlpBlock : public Block {
 public:
  explicit MlpBlock(GatedMlp mlp) : mlp_(std::move(mlp)) {}
  at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches&) const override {
    return which < 2 ? rows : mlp_.Inner(rows);
  }
  void Replace(size_t which, const at::Tensor& weight) override { mlp_ = mlp_.With(which, weight); }

 private:
  GatedMlp mlp_;
};

class PartResolver {
 public:
  PartResolver(const OpenedModel& model, Part part, const TaskArguments& arguments, TaskContext& context)
      : model_(model),
        part_(std::move(part)),
        arguments_(arguments),
        context_(context),
        weights_(model.spec, model.checkpoint, at::kFloat) {}

  absl::Status ReadArguments() {
    ASSIGN_OR_RETURN(options_, ReadSolveOptions(arguments_, context_));
    ASSIGN_OR_RETURN(experts_, ReadExpertCalibration(arguments_));
    ASSIGN_OR_RETURN(correction_, arguments_.Param<double>("correction"));
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input("plan"));
    ASSIGN_OR_RETURN(const MappedFile text, context_.blobs.Open(digest));
    ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(text.bytes()));
    for (const PlannedLinear& planned : plan.linears) planned_[planned.linear.name] = planned;
    fragment_ = plan;
    fragment_.linears.clear();
    return absl::OkStatus();
  }

  absl::StatusOr<TaskOutputs> Run() {
    switch (part_.kind) {
      case PartKind::kAttention:
        RETURN_IF_ERROR(ResolveAttention());
        break;
      case PartKind::kDense:
      case PartKind::kShared:
        RETURN_IF_ERROR(ResolveMlp(0, [this](size_t s) -> absl::StatusOr<ShardRows> {
          ASSIGN_OR_RETURN(PairedRows rows, FfnRows(s));
          return ShardRows{std::move(rows), {}};
        }));
        break;
      case PartKind::kExperts:
        RETURN_IF_ERROR(ResolveExperts());
        break;
    }
    return Store();
  }

 private:
  absl::StatusOr<at::Tensor> Shard(const std::string& role, const std::string& name, size_t shard) {
    RETURN_IF_ERROR(CheckCancelled(context_));
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input(absl::StrCat(role, ".", shard)));
    ASSIGN_OR_RETURN(const NamedTensors tensors, GetStates(context_.blobs, digest));
    return tensors.at(name);
  }

  size_t shards() const { return arguments_.InputSeries("quantized").size(); }

  absl::Status ResolveAttention() {
    ASSIGN_OR_RETURN(const DecoderLayer layer, DecoderLayer::Load(model_.spec, part_.layer, weights_));
    const RowSource rows = [&](size_t s) -> absl::StatusOr<ShardRows> {
      ASSIGN_OR_RETURN(const at::Tensor original, Shard("hidden", "hidden", s));
      ASSIGN_OR_RETURN(const at::Tensor quantized, Shard("quantized", "hidden", s));
      return ShardRows{{layer.AttentionInput(original.flatten(0, 1)),
                        layer.AttentionInput(quantized.flatten(0, 1)),
                        {{original.size(0), original.size(1)}},
                        at::Tensor()},
                       {}};
    };
    const AttentionBlock original(layer.attention(), part_);
    AttentionBlock changed(layer.attention(), part_);
    return ResolveBlock(original, changed, AttentionStages(), 0, rows);
  }

  // Linears with the same input, in the order in which inputs depend on earlier linears.
  std::vector<std::vector<size_t>> AttentionStages() const {
    std::vector<std::vector<size_t>> stages;
    std::map<LinearKind, size_t> index;
    for (size_t i = 0; i < part_.linears.size(); ++i) {
      const auto [at, added] = index.try_emplace(AttentionInputOf(part_.linears[i].kind), stages.size());
      if (added) stages.emplace_back();
      stages[at->second].push_back(i);
    }
    return stages;
  }

  absl::StatusOr<PairedRows> FfnRows(size_t s) {
    ASSIGN_OR_RETURN(const at::Tensor original, Shard("ffn_input", "ffn_input", s));
    ASSIGN_OR_RETURN(const at::Tensor quantized, Shard("quantized", "ffn_input", s));
    return PairedRows{original, quantized, {}, at::Tensor()};
  }

  // The gated MLP whose linears start at `first` of the part.
  absl::Status ResolveMlp(size_t first, const RowSource& rows) {
    ASSIGN_OR_RETURN(GatedMlp mlp, GatedMlp::Load(model_.spec, part_.linears[first], part_.linears[first + 1],
                                                  part_.linears[first + 2], weights_));
    const MlpBlock original(mlp);
    MlpBlock changed(std::move(mlp));
    return ResolveBlock(original, changed, {{0, 1}, {2}}, first, rows);
  }

  absl::Status ResolveExperts() {
    std::vector<Dispatch> dispatches;
    for (size_t s = 0; s < shards(); ++s) {
      ASSIGN_OR_RETURN(const at::Tensor experts, Shard("routing", "experts", s));
      ASSIGN_OR_RETURN(const at::Tensor weights, Shard("routing", "weights", s));
      dispatches.emplace_back(Routing{experts.to(at::kLong), weights}, model_.spec.moe.experts);
    }
    for (int i = 0; i < part_.num_experts; ++i) {
      const ExpertRows calibration(dispatches, part_.first_expert + i, model_.spec.hidden, experts_,
                                   model_.spec.moe.scale_input);
      const RowSource rows = [&](size_t s) -> absl::StatusOr<ShardRows> {
        ASSIGN_OR_RETURN(const PairedRows all, FfnRows(s));
        const auto select = [&all](const at::Tensor& tokens, const at::Tensor& input_scales,
                                   at::Tensor scales) {
          return PairedRows{Scaled(all.original.index_select(0, tokens), input_scales),
                            Scaled(all.quantized.index_select(0, tokens), input_scales),
                            {},
                            std::move(scales)};
        };
        const int64_t count = all.original.size(0);
        return ShardRows{
            select(calibration.Tokens(s, count), calibration.InputScales(s, count), calibration.Scales(s)),
            select(calibration.Sample(count), calibration.SampleScale(), at::Tensor())};
      };
      support_weight_ = [&](int64_t sampled) { return calibration.SupportWeight(sampled); };
      RETURN_IF_ERROR(ResolveMlp(static_cast<size_t>(i) * 3, rows));
      context_.progress(static_cast<double>(i + 1) / part_.num_experts, "solve");
    }
    return absl::OkStatus();
  }

  // `stages` are linears of the block with one input; each stage sees the quantized weights of those before.
  absl::Status ResolveBlock(const Block& original, Block& changed,
                            const std::vector<std::vector<size_t>>& stages, size_t first,
                            const RowSource& rows) {
    for (const std::vector<size_t>& stage : stages) {
      const int64_t in = part_.linears[first + stage[0]].in;
      StageSums own(in), support(in);
      for (size_t s = 0; s < shards(); ++s) {
        ASSIGN_OR_RETURN(const ShardRows pair, rows(s));
        AddRows(original, changed, stage[0], pair.own, own);
        if (pair.sample.original.defined()) AddRows(original, changed, stage[0], pair.sample, support);
      }
      RETURN_IF_ERROR(SolveStage(changed, stage, first, std::move(own), std::move(support)));
    }
    return absl::OkStatus();
  }

  void AddRows(const Block& original, const Block& changed, size_t which, const PairedRows& rows,
               StageSums& sums) const {
    const at::Tensor seen = Scaled(changed.InputOf(which, rows.quantized, rows.batches), rows.scales);
    sums.hessian.Add(seen);
    if (correction_ == 0) return;
    const at::Tensor meant = Scaled(original.InputOf(which, rows.original, rows.batches), rows.scales);
    sums.cross.addmm_((meant - seen).t(), seen);
  }

  absl::Status SolveStage(Block& changed, const std::vector<size_t>& stage, size_t first, StageSums own,
                          StageSums support) {
    const int64_t sampled = support.hessian.tokens();
    const double pull = sampled > 0 ? support_weight_(sampled) : 0.0;
    absl::StatusOr<SolveFactor> factor =
        FactorSupported(std::move(own.hessian), std::move(support.hessian), pull, options_);
    if (!factor.ok()) return Annotate(factor.status(), part_.linears[first + stage[0]].name);
    if (factor->supported) own.cross.add_(support.cross, pull);
    for (const size_t which : stage) {
      const Linear& linear = part_.linears[first + which];
      const auto planned = planned_.find(linear.name);
      if (planned == planned_.end())
        return absl::InternalError(absl::StrCat(linear.name, " is not in the plan"));
      ASSIGN_OR_RETURN(const at::Tensor weight, weights_.LinearWeight(linear));
      SolveOptions options = options_;
      options.widths = {planned->second.bits};
      const at::Tensor target = CorrectedWeight(weight, own.cross, *factor, correction_);
      absl::StatusOr<std::map<int, QuantizedLinear>> solved = Solve(target, *factor, options);
      if (!solved.ok()) return Annotate(solved.status(), linear.name);
      const QuantizedLinear& quantized = solved->begin()->second;
      changed.Replace(which,
                      Dequantize(quantized.codes, quantized.scales, options.widths[0], options.group_size));
      packed_[linear.name + ".qweight"] = PackRows(quantized.codes, options.widths[0]);
      packed_[linear.name + ".scales"] = quantized.scales;
      PlannedLinear& entry = fragment_.linears.emplace_back(planned->second);
      entry.method = factor->Method();
      entry.fallback = factor->fallback;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<TaskOutputs> Store() {
    ASSIGN_OR_RETURN(const Digest weights, PutTensors(context_.blobs, packed_));
    for (PlannedLinear& linear : fragment_.linears) linear.blob = weights;
    ASSIGN_OR_RETURN(const Digest plan, context_.blobs.Put(BitPlanToJson(fragment_)));
    return TaskOutputs{{"weights", weights}, {"plan", plan}};
  }

  const OpenedModel& model_;
  const Part part_;
  const TaskArguments& arguments_;
  TaskContext& context_;
  CheckpointWeights weights_;
  SolveOptions options_;
  ExpertCalibration experts_;
  double correction_ = 0;
  std::function<double(int64_t sampled)> support_weight_;  // of the expert that is being solved
  std::map<std::string, PlannedLinear> planned_;
  NamedTensors packed_;
  BitPlan fragment_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunResolve(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(Part part, PartOfTask(arguments, model));
  PartResolver resolver(model, std::move(part), arguments, context);
  RETURN_IF_ERROR(resolver.ReadArguments());
  return resolver.Run();
}

}  // namespace quantmoe
