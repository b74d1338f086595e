// refine: one round of a search that measures plans. Each trial runs the model with the proposed widths over
// text that no solve used, and a plan is kept when it diverges less from the original model than all before.
// So the plan that a round hands on is never worse by this measure, and always a valid one.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/distortion_table.h"
#include "plan/graph/task_definition.h"
#include "plan/job/job_allocation.h"
#include "plan/job/plan_search.h"
#include "plan/model/tensor_views.h"
#include "plan/options/heuristic_names.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/model/likelihood.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/choice_spec.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// The model on the sample, under one plan after the other. It keeps the streams that enter some layers under
// the best plan so far: a trial that changes nothing below a layer starts there.
class SampleRun {
 public:
  SampleRun(const OpenedModel& model, at::Tensor sample, TaskContext& context)
      : model_(model),
        context_(context),
        original_(model.spec, model.checkpoint, at::kFloat),
        batches_({{sample.size(0), sample.size(1)}}),
        stride_((static_cast<int>(model.spec.num_layers()) + kRefinementStates - 1) / kRefinementStates),
        kept_({{0, sample.flatten(0, 1)}}) {}

  absl::Status RunOriginal() {
    ASSIGN_OR_RETURN(head_, OutputHead::Load(model_.spec, original_));
    ASSIGN_OR_RETURN(reference_, RunLayers(model_.spec, 0, kept_.at(0), batches_, original_, Poll()));
    return absl::OkStatus();
  }

  // Divergence of `plan`, which differs from the best one from layer `first` on.
  absl::StatusOr<double> Measure(const BitPlan& plan, int first) {
    const auto start = std::prev(kept_.upper_bound(first));
    PlannedWeights weights(plan, original_, context_.blobs);
    trial_.clear();
    const auto keep = [this](int layer, const at::Tensor& hidden) {
      if ((layer + 1) % stride_ == 0) trial_[layer + 1] = hidden;
      return CheckCancelled(context_);
    };
    ASSIGN_OR_RETURN(const at::Tensor last,
                     RunLayers(model_.spec, start->first, start->second, batches_, weights, keep));
    return MeanDivergence(head_, reference_, last);
  }

  // The plan measured last is the best one.
  void Keep() {
    for (auto& [layer, hidden] : trial_) kept_[layer] = std::move(hidden);
  }

 private:
  std::function<absl::Status(int, const at::Tensor&)> Poll() {
    return [this](int, const at::Tensor&) { return CheckCancelled(context_); };
  }

  const OpenedModel& model_;
  TaskContext& context_;
  CheckpointWeights original_;
  const Batches batches_;
  const int stride_;
  OutputHead head_;
  at::Tensor reference_;
  std::map<int, at::Tensor> kept_, trial_;  // by the layer that they enter
};

// The first layer in which two plans differ.
int FirstChange(const BitPlan& a, const BitPlan& b) {
  for (size_t i = 0; i < a.linears.size(); ++i) {
    if (a.linears[i].width != b.linears[i].width) return a.linears[i].linear.layer;
  }
  return 0;
}

template <typename T>
absl::StatusOr<T> Read(const TaskArguments& arguments, BlobStore& blobs, const char* role,
                       absl::StatusOr<T> (*parse)(absl::string_view)) {
  ASSIGN_OR_RETURN(const Digest digest, arguments.Input(role));
  ASSIGN_OR_RETURN(const MappedFile text, blobs.Open(digest));
  return parse(text.bytes());
}

// The largest single width that fits: a mixture that it beats is not worth having.
std::vector<BitPlan> Rivals(const DistortionTable& table, JobSpec spec, const std::vector<TensorInfo>& kept) {
  spec.heuristic = kUniformHeuristic;
  spec.heuristic_params.clear();
  const absl::StatusOr<BitPlan> uniform = Allocate(table, spec, kept);
  return uniform.ok() ? std::vector<BitPlan>{*uniform} : std::vector<BitPlan>{};
}

class Round {
 public:
  Round(const TaskArguments& arguments, TaskContext& context, const OpenedModel& model)
      : arguments_(arguments), context_(context), model_(model) {}

  absl::StatusOr<TaskOutputs> Run() {
    ASSIGN_OR_RETURN(plan_, Read(arguments_, context_.blobs, "plan", BitPlanFromJson));
    ASSIGN_OR_RETURN(const Digest heldout, arguments_.Input("heldout"));
    ASSIGN_OR_RETURN(const NamedTensors tensors, GetTensors(context_.blobs, heldout));
    const at::Tensor& sample = tensors.at("hidden");
    SampleRun run(model_, sample, context_);
    RETURN_IF_ERROR(run.RunOriginal());
    ASSIGN_OR_RETURN(const double divergence, run.Measure(plan_, /*first=*/0));
    run.Keep();
    if (!plan_.refined)
      plan_.refined = {0, 0, 0, divergence, divergence, sample.size(0), sample.numel() / sample.size(2)};
    RETURN_IF_ERROR(Search(run, divergence));
    ++plan_.refined->rounds;
    return Outputs();
  }

 private:
  absl::Status Search(SampleRun& run, double divergence) {
    ASSIGN_OR_RETURN(const JobSpec spec, ReadChoiceSpec(arguments_));
    ASSIGN_OR_RETURN(const DistortionTable table,
                     Read(arguments_, context_.blobs, "table", DistortionTableFromJson));
    const std::vector<TensorInfo> kept = KeptTensors(model_.spec, *model_.checkpoint);
    if (arguments_.HasInput("search")) {
      ASSIGN_OR_RETURN(state_, Read(arguments_, context_.blobs, "search", SearchStateFromJson));
    }
    const bool fresh = state_.tried.empty();
    ASSIGN_OR_RETURN(PlanSearch search,
                     PlanSearch::Start(table, spec, kept, plan_, divergence, state_,
                                       fresh ? Rivals(table, spec, kept) : std::vector<BitPlan>{}));
    ASSIGN_OR_RETURN(const int trials, arguments_.Param<int>("trials"));
    for (int i = 0; i < trials; ++i) {
      context_.progress(static_cast<double>(i) / trials, "trials");
      std::optional<BitPlan> trial = search.Propose();
      if (!trial) break;
      ASSIGN_OR_RETURN(const double measured, run.Measure(*trial, FirstChange(plan_, *trial)));
      Refinement refined = *plan_.refined;
      ++refined.trials;
      if (search.Learn(measured)) {
        ++refined.accepted;
        refined.divergence_after = measured;
        run.Keep();
        plan_ = *std::move(trial);
      }
      plan_.refined = refined;
    }
    state_ = search.state();
    return absl::OkStatus();
  }

  absl::StatusOr<TaskOutputs> Outputs() {
    ASSIGN_OR_RETURN(const Digest plan, context_.blobs.Put(BitPlanToJson(plan_)));
    ASSIGN_OR_RETURN(const Digest search, context_.blobs.Put(SearchStateToJson(state_)));
    return TaskOutputs{{"plan", plan}, {"search", search}};
  }

  const TaskArguments& arguments_;
  TaskContext& context_;
  const OpenedModel& model_;
  BitPlan plan_;
  SearchState state_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunRefine(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  return Round(arguments, context, model).Run();
}

}  // namespace quantmoe
