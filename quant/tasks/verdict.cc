// verdict: how far a plan and the uniform plan of the same budget are from the original model, on text that
// neither a solve nor the search of the plan has used. A plan that its heuristic calls the best has to win
// there to be published.
#include "quant/tasks/verdict.h"

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/tail_figures.h"
#include "plan/graph/task_graph.h"
#include "plan/options/job_spec.h"
#include "plan/options/spec_json.h"
#include "quant/evaluate/intervals.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/sample_run.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

PairedInterval Compare(const MeasuredPlan& uniform, const MeasuredPlan& plan) {
  std::vector<PairedSample> windows;
  for (size_t w = 0; w < plan.windows.size(); ++w)
    windows.push_back({uniform.windows[w], plan.windows[w], 1});
  return PairedBootstrap(windows, ScoreFormula::kMean, BootstrapOptions{});
}

}  // namespace

PlanVerdict Judge(const MeasuredPlan& uniform, const MeasuredPlan& plan) {
  const PairedInterval interval = Compare(uniform, plan);
  PlanVerdict verdict;
  verdict.plan = plan.figures;
  verdict.uniform = uniform.figures;
  verdict.low = interval.low;
  verdict.high = interval.high;
  verdict.plan_wins = interval.high < 0 && plan.figures.broken_windows <= uniform.figures.broken_windows;
  return verdict;
}

absl::StatusOr<TaskOutputs> RunVerdict(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(BitPlan plan, ReadInput(arguments, context.blobs, "plan", BitPlanFromJson));
  ASSIGN_OR_RETURN(BitPlan uniform, ReadInput(arguments, context.blobs, "uniform", BitPlanFromJson));
  ASSIGN_OR_RETURN(const at::Tensor sample, ReadStream(arguments, context.blobs, "sample"));
  ASSIGN_OR_RETURN(const PrepareSummary summary,
                   ReadInput(arguments, context.blobs, "summary", PrepareSummaryFromJson));
  JobSpec spec;
  RETURN_IF_ERROR(ReadTaskParams(arguments.params(), kVerdictTasks, spec));
  SampleRun run(model, sample, context);
  RETURN_IF_ERROR(run.RunOriginal());
  context.progress(0.3, "the plan");
  ASSIGN_OR_RETURN(const at::Tensor under_plan, run.Run(plan));
  context.progress(0.6, "the uniform plan");
  const bool same = SameWidths(plan, uniform);
  at::Tensor under_uniform = under_plan;
  if (!same) {
    ASSIGN_OR_RETURN(under_uniform, run.Run(uniform));
  }
  context.progress(0.8, "their predictions");
  const std::vector<MeasuredPlan> measured = run.Compare({under_plan, under_uniform});
  PlanVerdict verdict = Judge(/*uniform=*/measured[1], /*plan=*/measured[0]);
  verdict.windows = sample.size(0);
  verdict.tokens = sample.size(0) * sample.size(1);
  verdict.heuristic = plan.heuristic;
  verdict.unseen = summary.samples_apart;
  ASSIGN_OR_RETURN(const bool has_to_win, arguments.Param<bool>("has_to_win"));
  verdict.plan_published = !has_to_win || verdict.plan_wins || spec.publish == PublishChoice::kPlan || same;
  BitPlan& published = verdict.plan_published ? plan : uniform;
  published.verdict = verdict;
  ASSIGN_OR_RETURN(const Digest stored, context.blobs.Put(BitPlanToJson(published)));
  return TaskOutputs{{"plan", stored}};
}

}  // namespace quantmoe
