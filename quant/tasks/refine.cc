// refine: one round of a search that measures plans. Each trial runs the model with the proposed widths over
// text that no solve used, and a plan is kept when it diverges less from the original model than all before,
// in the mean and with no worse tails. So the plan that a round hands on is never worse, and always a valid
// one.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/distortion_table.h"
#include "plan/allocate/tail_figures.h"
#include "plan/graph/task_definition.h"
#include "plan/job/job_allocation.h"
#include "plan/job/plan_search.h"
#include "plan/model/tensor_views.h"
#include "plan/options/heuristic_names.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/choice_spec.h"
#include "quant/tasks/sample_run.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// The first layer in which two plans differ.
int FirstChange(const BitPlan& a, const BitPlan& b) {
  for (size_t i = 0; i < a.linears.size(); ++i) {
    if (a.linears[i].width != b.linears[i].width) return a.linears[i].linear.layer;
  }
  return 0;
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
    ASSIGN_OR_RETURN(plan_, ReadInput(arguments_, context_.blobs, "plan", BitPlanFromJson));
    ASSIGN_OR_RETURN(const at::Tensor sample, ReadStream(arguments_, context_.blobs, "sample"));
    SampleRun run(model_, sample, context_);
    RETURN_IF_ERROR(run.RunOriginal());
    ASSIGN_OR_RETURN(best_, Measure(run, plan_, /*first=*/0));
    run.Keep();
    if (!plan_.refined)
      plan_.refined = {0, 0, 0, best_.mean, best_.mean, sample.size(0), sample.numel() / sample.size(2)};
    RETURN_IF_ERROR(Search(run));
    ++plan_.refined->rounds;
    return Outputs();
  }

 private:
  // Of `plan`, which differs from the best one from layer `first` on.
  static absl::StatusOr<TailFigures> Measure(SampleRun& run, const BitPlan& plan, int first) {
    ASSIGN_OR_RETURN(const at::Tensor stream, run.Run(plan, first));
    const Divergences measured = run.Compare({stream}).front();
    return FiguresOf(measured.rows, run.length(), measured.top1_flips);
  }

  absl::Status Search(SampleRun& run) {
    ASSIGN_OR_RETURN(const JobSpec spec, ReadChoiceSpec(arguments_));
    ASSIGN_OR_RETURN(const DistortionTable table,
                     ReadInput(arguments_, context_.blobs, "table", DistortionTableFromJson));
    const std::vector<TensorInfo> kept = KeptTensors(model_.spec, *model_.checkpoint);
    if (arguments_.HasInput("search")) {
      ASSIGN_OR_RETURN(state_, ReadInput(arguments_, context_.blobs, "search", SearchStateFromJson));
    }
    const bool fresh = state_.tried.empty();
    ASSIGN_OR_RETURN(PlanSearch search,
                     PlanSearch::Start(table, spec, kept, plan_, best_.mean, state_,
                                       fresh ? Rivals(table, spec, kept) : std::vector<BitPlan>{}));
    ASSIGN_OR_RETURN(const int trials, arguments_.Param<int>("trials"));
    for (int i = 0; i < trials; ++i) {
      context_.progress(static_cast<double>(i) / trials, "trials");
      std::optional<BitPlan> trial = search.Propose();
      if (!trial) break;
      ASSIGN_OR_RETURN(const TailFigures measured, Measure(run, *trial, FirstChange(plan_, *trial)));
      Refinement refined = *plan_.refined;
      ++refined.trials;
      const bool acceptable = measured.cvar <= best_.cvar && measured.worst_window <= best_.worst_window;
      if (search.Learn(measured.mean, acceptable)) {
        ++refined.accepted;
        refined.divergence_after = measured.mean;
        best_ = measured;
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
  TailFigures best_;  // of plan_
  SearchState state_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunRefine(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  return Round(arguments, context, model).Run();
}

}  // namespace quantmoe
