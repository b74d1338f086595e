// refine: one round of the search for the best plan. Round 0 measures the plan of the losses and the uniform
// plan of the same budget, and starts from the better one. Every later round takes a step from the best plan,
// by what probes around it measured, and keeps it only where the model's output comes closer to the
// original's, with no worse tails. So the plan that leaves is never worse than the uniform one on the sample,
// in the mean and in the worst tenth of the windows, and always a valid one.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/distortion_table.h"
#include "plan/graph/task_definition.h"
#include "plan/job/job_allocation.h"
#include "plan/job/plan_step.h"
#include "plan/model/tensor_views.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/choice_spec.h"
#include "quant/tasks/sample_run.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// A start may have one window that is worse: a sample has but one worst window, and steps will not add to it.
bool IsBetterStart(const TailFigures& plan, const TailFigures& uniform) {
  return plan.mean < uniform.mean && plan.cvar <= uniform.cvar;
}

bool IsBetter(const TailFigures& plan, const TailFigures& best) {
  return plan.mean < best.mean && plan.cvar <= best.cvar && plan.worst_window <= best.worst_window;
}

// What probes measured around the plan.
absl::StatusOr<MovedGroups> ReadMoves(const TaskArguments& arguments, BlobStore& blobs) {
  MovedGroups moved;
  for (const Digest& digest : arguments.InputSeries("sensitivity")) {
    ASSIGN_OR_RETURN(const nlohmann::json json, GetJson(blobs, digest));
    for (const auto& [name, windows] : json.at("divergence").items()) {
      RETURN_IF_ERROR(AddMove(json.at("layer").get<int>(), name, windows.get<std::vector<double>>(), moved));
    }
  }
  return moved;
}

// The probes saw the first windows of the sample.
std::vector<double> ProbedWindows(const MeasuredPlan& plan) {
  const auto count = std::min(plan.windows.size(), static_cast<size_t>(kProbeWindows));
  return {plan.windows.begin(), plan.windows.begin() + static_cast<std::ptrdiff_t>(count)};
}

class Round {
 public:
  Round(const TaskArguments& arguments, TaskContext& context, const OpenedModel& model,
        const at::Tensor& sample)
      : arguments_(arguments), context_(context), run_(model, sample, context) {}

  absl::StatusOr<TaskOutputs> Run(const OpenedModel& model) {
    ASSIGN_OR_RETURN(plan_, ReadInput(arguments_, context_.blobs, "plan", BitPlanFromJson));
    ASSIGN_OR_RETURN(spec_, ReadChoiceSpec(arguments_));
    ASSIGN_OR_RETURN(table_, ReadInput(arguments_, context_.blobs, "table", DistortionTableFromJson));
    kept_ = KeptTensors(model.spec, *model.checkpoint);
    RETURN_IF_ERROR(run_.RunOriginal());
    RETURN_IF_ERROR(arguments_.HasInput("uniform") ? ChooseStart() : TakeStep());
    return Outputs();
  }

 private:
  absl::StatusOr<MeasuredPlan> Measure(const BitPlan& plan) {
    ASSIGN_OR_RETURN(const at::Tensor stream, run_.Run(plan));
    return run_.Compare({stream}).front();
  }

  absl::Status ChooseStart() {
    ASSIGN_OR_RETURN(const BitPlan uniform,
                     ReadInput(arguments_, context_.blobs, "uniform", BitPlanFromJson));
    context_.progress(0.2, "the plan of the losses");
    ASSIGN_OR_RETURN(const MeasuredPlan planned, Measure(plan_));
    context_.progress(0.5, "the uniform plan");
    ASSIGN_OR_RETURN(const MeasuredPlan control, Measure(uniform));
    const bool stays = SameWidths(plan_, uniform) || IsBetterStart(planned.figures, control.figures);
    if (!stays) plan_ = AsPlanOfJob(uniform);
    plan_.refined = Refinement{.rounds = 0,
                               .trials = 2,
                               .accepted = 0,
                               .divergence_before = planned.figures.mean,
                               .divergence_after = (stays ? planned : control).figures.mean,
                               .sequences = run_.windows(),
                               .tokens = run_.windows() * run_.length()};
    return absl::OkStatus();
  }

  // The widths of the uniform plan, with the losses and the bounds that the job's heuristic speaks of.
  BitPlan AsPlanOfJob(const BitPlan& uniform) const {
    std::vector<int> widths;
    for (const PlannedLinear& planned : uniform.linears) widths.push_back(planned.width);
    BitPlan plan =
        DescribePlan(MakeInputs(table_, spec_, kept_), spec_, ParseObjective(plan_.objective), widths);
    plan.lower_bound = plan_.lower_bound;
    plan.unconstrained_loss = plan_.unconstrained_loss;
    return plan;
  }

  // Shorter and shorter ones, until one of them is better.
  absl::Status TakeStep() {
    ASSIGN_OR_RETURN(state_, ReadInput(arguments_, context_.blobs, "search", SearchStateFromJson));
    ASSIGN_OR_RETURN(const MovedGroups moved, ReadMoves(arguments_, context_.blobs));
    ASSIGN_OR_RETURN(const int tries, arguments_.Param<int>("tries"));
    ASSIGN_OR_RETURN(const MeasuredPlan best, Measure(plan_));
    ASSIGN_OR_RETURN(const PlanStep step,
                     PlanStep::Start(table_, spec_, kept_, plan_, ProbedWindows(best), moved));
    Refinement refined = plan_.refined.value_or(Refinement{});
    ++refined.rounds;
    BitPlan rejected;
    for (int i = 0; i < tries; ++i) {
      context_.progress(static_cast<double>(i + 1) / (tries + 2), "steps");
      RETURN_IF_ERROR(CheckCancelled(context_));
      std::optional<ProposedPlan> proposed = step.Propose(state_.region);
      if (!proposed) break;
      if (!rejected.linears.empty() && SameWidths(rejected, proposed->plan)) {
        state_.Learn(proposed->predicted, /*measured=*/0, /*accepted=*/false);
        continue;
      }
      ASSIGN_OR_RETURN(const MeasuredPlan measured, Measure(proposed->plan));
      const bool better = IsBetter(measured.figures, best.figures);
      ++refined.trials;
      state_.Learn(proposed->predicted, measured.figures.mean - best.figures.mean, better);
      if (!better) {
        rejected = std::move(proposed->plan);
        continue;
      }
      ++refined.accepted;
      refined.divergence_after = measured.figures.mean;
      plan_ = std::move(proposed->plan);
      break;
    }
    plan_.refined = refined;
    return absl::OkStatus();
  }

  // `around` is the plan without its history: when no step was better, the probes of the next round are those
  // of this one, and their results are found again.
  absl::StatusOr<TaskOutputs> Outputs() {
    TaskOutputs outputs;
    const auto put = [&](std::string role, const absl::StatusOr<Digest>& digest) {
      if (digest.ok()) outputs.push_back({std::move(role), *digest});
      return digest.status();
    };
    RETURN_IF_ERROR(put("plan", context_.blobs.Put(BitPlanToJson(plan_))));
    RETURN_IF_ERROR(put("search", context_.blobs.Put(SearchStateToJson(state_))));
    BitPlan around = plan_;
    around.refined.reset();
    RETURN_IF_ERROR(put("around", context_.blobs.Put(BitPlanToJson(around))));
    RETURN_IF_ERROR(run_.Trace(plan_, kProbeWindows, [&](int layer, const at::Tensor& stream) {
      return put(absl::StrCat("stream.", layer),
                 PutTensors(context_.blobs, {{"hidden", stream.contiguous()}}));
    }));
    return outputs;
  }

  const TaskArguments& arguments_;
  TaskContext& context_;
  SampleRun run_;
  JobSpec spec_;
  DistortionTable table_;
  std::vector<TensorInfo> kept_;
  BitPlan plan_;
  SearchState state_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunRefine(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const at::Tensor sample, ReadStream(arguments, context.blobs, "sample"));
  return Round(arguments, context, model, sample).Run(model);
}

}  // namespace quantmoe
