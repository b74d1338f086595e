// The re-solve: one part at its planned widths, on the inputs that the quantized layers before it give.
// Within the part, too, every linear sees what the quantized ones before it give. On a GPU everything but the
// attention itself, whose inputs are computed on the CPU.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "quant/gptq/device_solver.h"
#include "quant/gptq/packing.h"
#include "quant/model/decoder.h"
#include "quant/tasks/part_task.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// The rows that one shard feeds to a module, in the original model and behind quantized layers.
struct PairedRows {
  at::Tensor original;
  at::Tensor quantized;
  Batches batches;
  at::Tensor scales;  // of the rows; undefined: none
};

// Of a shard: the rows that calibrate a module, and those that may support it when it is a cold expert.
struct ShardRows {
  PairedRows own;
  PairedRows sample;  // without rows: none
};
using RowSource = std::function<absl::StatusOr<ShardRows>(size_t shard)>;

// An attention or MLP whose linears get their quantized weights one stage after the other.
class ChangingModule {
 public:
  virtual ~ChangingModule() = default;
  // What linear `which` (of the module) sees when the module is fed `rows`, where the module computes.
  virtual at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches& batches) const = 0;
  // `weight` [out, in] f32, on any device.
  virtual void Replace(size_t which, const at::Tensor& weight) = 0;
};

// On the CPU.
class ChangingAttention : public ChangingModule {
 public:
  ChangingAttention(Attention attention, const Part& part) : attention_(std::move(attention)), part_(part) {}
  at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches& batches) const override {
    return attention_.InputOf(part_.linears[which].kind, rows, batches);
  }
  void Replace(size_t which, const at::Tensor& weight) override {
    attention_ = attention_.With(part_.linears[which].kind, weight.cpu());
  }

 private:
  Attention attention_;
  const Part& part_;
};

// On the device.
class ChangingMlp : public ChangingModule {
 public:
  explicit ChangingMlp(GatedMlp mlp) : mlp_(std::move(mlp)) {}
  at::Tensor InputOf(size_t which, const at::Tensor& rows, const Batches&) const override {
    return which < 2 ? rows : mlp_.Inner(rows);
  }
  void Replace(size_t which, const at::Tensor& weight) override { mlp_ = mlp_.With(which, weight); }

 private:
  GatedMlp mlp_;
};

class PartReSolver : public PartTask {
 public:
  using PartTask::PartTask;

  absl::Status ReadArguments() {
    RETURN_IF_ERROR(ReadOptions());
    ASSIGN_OR_RETURN(options_.correction, arguments_.Param<double>("correction"));
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
        RETURN_IF_ERROR(ReSolveAttention());
        break;
      case PartKind::kDense:
      case PartKind::kShared:
        RETURN_IF_ERROR(ReSolveMlp(0, [this](size_t s) -> absl::StatusOr<ShardRows> {
          ASSIGN_OR_RETURN(const PairedRows rows, FfnRows(s));
          return ShardRows{{upload_(rows.original), upload_(rows.quantized), {}, at::Tensor()}, {}};
        }));
        break;
      case PartKind::kExperts:
        RETURN_IF_ERROR(ReSolveExperts());
        break;
    }
    return Store();
  }

 private:
  size_t shards() const { return arguments_.InputSeries("quantized").size(); }

  absl::Status ReSolveAttention() {
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
    const ChangingAttention original(layer.attention(), part_);
    ChangingAttention changed(layer.attention(), part_);
    return ReSolveModule(original, changed, LinearsByInput(), 0, rows);
  }

  // All of a shard, on the host.
  absl::StatusOr<PairedRows> FfnRows(size_t s) {
    ASSIGN_OR_RETURN(const at::Tensor original, Shard("ffn_input", "ffn_input", s));
    ASSIGN_OR_RETURN(const at::Tensor quantized, Shard("quantized", "ffn_input", s));
    return PairedRows{original, quantized, {}, at::Tensor()};
  }

  // The gated MLP whose linears start at `first` of the part.
  absl::Status ReSolveMlp(size_t first, const RowSource& rows) {
    ASSIGN_OR_RETURN(GatedMlp mlp, GatedMlp::Load(model_.spec, part_.linears[first], part_.linears[first + 1],
                                                  part_.linears[first + 2], device_weights_));
    const ChangingMlp original(mlp);
    ChangingMlp changed(std::move(mlp));
    return ReSolveModule(original, changed, {{0, 1}, {2}}, first, rows);
  }

  absl::Status ReSolveExperts() {
    ASSIGN_OR_RETURN(const std::vector<Dispatch> dispatches, Dispatches(shards()));
    for (int i = 0; i < part_.num_experts; ++i) {
      const ExpertRows calibration(dispatches, part_.first_expert + i, model_.spec.hidden, experts_,
                                   model_.spec.moe.scale_input);
      const RowSource rows = [&](size_t s) -> absl::StatusOr<ShardRows> {
        ASSIGN_OR_RETURN(const PairedRows all, FfnRows(s));
        const auto select = [&](const at::Tensor& tokens, const at::Tensor& input_scales,
                                const at::Tensor& scales) {
          return PairedRows{upload_(Scaled(all.original.index_select(0, tokens), input_scales)),
                            upload_(Scaled(all.quantized.index_select(0, tokens), input_scales)),
                            {},
                            upload_(scales)};
        };
        const int64_t count = all.original.size(0);
        return ShardRows{
            select(calibration.Tokens(s, count), calibration.InputScales(s, count), calibration.Scales(s)),
            select(calibration.Sample(count), calibration.SampleScale(), at::Tensor())};
      };
      support_weight_ = [&](int64_t sampled) { return calibration.SupportWeight(sampled); };
      RETURN_IF_ERROR(ReSolveMlp(static_cast<size_t>(i) * 3, rows));
      context_.progress(static_cast<double>(i + 1) / part_.num_experts, "solve");
    }
    return absl::OkStatus();
  }

  // `stages` are linears of the module with one input; each stage sees the quantized weights of those before.
  // The module's linears start at `first` of the part.
  absl::Status ReSolveModule(const ChangingModule& original, ChangingModule& changed,
                             const std::vector<std::vector<size_t>>& stages, size_t first,
                             const RowSource& rows) {
    for (const std::vector<size_t>& stage : stages) {
      const int64_t in = part_.linears[first + stage[0]].in;
      ASSIGN_OR_RETURN(SharedInput input, SumInput(original, changed, stage[0], in, rows));
      RETURN_IF_ERROR(AddTargets(stage, first, input));
      std::vector<SharedInput> inputs;
      inputs.push_back(std::move(input));
      RETURN_IF_ERROR(SolveShared(std::move(inputs), options_, device_,
                                  [&](const SolvedLinear& solved) { return Record(solved, changed); }));
    }
    return absl::OkStatus();
  }

  // What linear `which` of the module, of `in` input channels, sees in all shards.
  absl::StatusOr<SharedInput> SumInput(const ChangingModule& original, const ChangingModule& changed,
                                       size_t which, int64_t in, const RowSource& rows) {
    SharedInput input{.own = NoSums(in), .linears = {}};
    if (part_.kind == PartKind::kExperts) input.support = NoSums(in);
    for (size_t s = 0; s < shards(); ++s) {
      ASSIGN_OR_RETURN(const ShardRows pair, rows(s));
      AddRows(original, changed, which, pair.own, input.own);
      if (pair.sample.original.defined()) AddRows(original, changed, which, pair.sample, input.support);
      upload_.EndRound();
    }
    const int64_t sampled = input.support.hessian.tokens();
    if (sampled > 0) input.support_weight = support_weight_(sampled);
    return input;
  }

  CalibrationSums NoSums(int64_t in) const {
    CalibrationSums sums{Hessian(in, device_.device)};
    if (options_.correction != 0)
      sums.cross = at::zeros({in, in}, at::TensorOptions(device_.device).dtype(at::kFloat));
    return sums;
  }

  void AddRows(const ChangingModule& original, const ChangingModule& changed, size_t which,
               const PairedRows& rows, CalibrationSums& sums) {
    const at::Tensor seen =
        Scaled(upload_(changed.InputOf(which, rows.quantized, rows.batches)), rows.scales);
    sums.hessian.Add(seen);
    if (options_.correction == 0) return;
    const at::Tensor meant =
        Scaled(upload_(original.InputOf(which, rows.original, rows.batches)), rows.scales);
    sums.cross.addmm_((meant - seen).t(), seen);
  }

  // The linears of a stage, each at the width that the plan gives it.
  absl::Status AddTargets(const std::vector<size_t>& stage, size_t first, SharedInput& input) {
    for (const size_t which : stage) {
      const Linear& linear = part_.linears[first + which];
      const auto planned = planned_.find(linear.name);
      if (planned == planned_.end())
        return absl::InternalError(absl::StrCat(linear.name, " is not in the plan"));
      ASSIGN_OR_RETURN(const at::Tensor weight, device_weights_.LinearWeight(linear));
      input.linears.push_back({which, linear.name, weight, {planned->second.width}});
    }
    return absl::OkStatus();
  }

  // Gives a linear its quantized weight in the module, for the stages that follow, and keeps it for the
  // blobs.
  absl::Status Record(const SolvedLinear& solved, ChangingModule& changed) {
    const auto& [width, quantized] = *solved.widths.begin();
    changed.Replace(solved.target.id,
                    Dequantize(quantized.codes, quantized.scales, width, options_.group_size));
    const std::string& name = solved.target.name;
    packed_[name + ".qweight"] = PackRows(quantized.codes.cpu(), width);
    packed_[name + ".scales"] = quantized.scales.cpu();
    PlannedLinear& entry = fragment_.linears.emplace_back(planned_.at(name));
    entry.method = solved.factor.Method();
    entry.fallback = solved.factor.fallback;
    return absl::OkStatus();
  }

  absl::StatusOr<TaskOutputs> Store() {
    ASSIGN_OR_RETURN(const Digest weights, PutTensors(context_.blobs, packed_));
    for (PlannedLinear& linear : fragment_.linears) linear.blob = weights;
    ASSIGN_OR_RETURN(const Digest plan, context_.blobs.Put(BitPlanToJson(fragment_)));
    return TaskOutputs{{"weights", weights}, {"plan", plan}};
  }

  std::function<double(int64_t sampled)> support_weight_;  // of the expert that is being solved
  std::map<std::string, PlannedLinear> planned_;
  NamedTensors packed_;
  BitPlan fragment_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunReSolve(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(Part part, PartOfTask(arguments, model));
  PartReSolver solver(model, std::move(part), arguments, context);
  RETURN_IF_ERROR(solver.ReadArguments());
  return solver.Run();
}

}  // namespace quantmoe
