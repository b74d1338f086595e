#include "plan/graph/job_estimate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/graph/graph_shape.h"
#include "plan/graph/task_definition.h"
#include "plan/graph/task_work.h"
#include "plan/job/job_allocation.h"

namespace quantmoe {
namespace {

constexpr int64_t kBytesPerToken = 4;

// A table that knows shapes and nothing else.
DistortionTable BlankTable(const ResolvedJob& job) {
  DistortionTable table;
  for (const Part& part : job.parts) {
    PartTable& out = table.parts.emplace_back();
    out.layer = part.layer;
    out.part = part.index;
    for (const Linear& linear : part.linears) {
      DistortionRow& row = out.rows.emplace_back();
      row.linear = linear;
      for (int width : job.spec.gptq.widths) row.widths[width] = {};
    }
  }
  return table;
}

absl::Status PredictBytes(const ResolvedJob& job, JobEstimate& estimate) {
  estimate.budget_bytes = BudgetBytes(job.spec.budget, job.sizes);
  estimate.predicted_bytes = estimate.budget_bytes;
  if (!HeuristicOf(job.spec).NeedsNoData(job.spec.heuristic_params)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(BlankTable(job), job.spec, job.kept));
  estimate.predicted_bytes = plan.weight_file_bytes;
  // Which experts are protected is not known before they were measured.
  estimate.bytes_exact = !ProtectsSuperExperts(job.spec);
  return absl::OkStatus();
}

int64_t EvaluationShards(const ResolvedJob& job) {
  if (job.spec.evaluation.skip) return 0;
  int64_t bytes = job.spec.evaluation.perplexity_text.size_bytes;
  for (const BenchmarkTaskSpec& task : job.spec.evaluation.tasks) bytes += task.data.size_bytes;
  return std::max<int64_t>(1, bytes / kBytesPerToken / kEvaluationShardTokens);
}

void CountTasks(const ResolvedJob& job, JobEstimate& estimate) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t in_text =
      calibration.text.size_bytes / kBytesPerToken / std::max(calibration.sequence_length, 1);
  const int64_t sequences = std::clamp<int64_t>(in_text, 1, calibration.samples);
  const int starts = calibration.starts.value_or(0);
  const int in_shard = StartsOfShard(calibration.shard_sequences, calibration.sequence_length);
  estimate.calibration_tokens = sequences * calibration.sequence_length + StartTokens(calibration);
  PrepareSummary summary;
  summary.calibration_shards =
      static_cast<int>((sequences + calibration.shard_sequences - 1) / calibration.shard_sequences) +
      (starts + in_shard - 1) / in_shard;
  summary.evaluation_shards = static_cast<int>(EvaluationShards(job));
  std::vector<TaskDefinition> tasks = TasksAfterPrepare(job, summary);
  tasks.push_back(PrepareTask(job));
  for (const TaskDefinition& task : tasks) {
    estimate.worker_memory_bytes = std::max(estimate.worker_memory_bytes, task.memory_bytes);
    StageNeeds& stage = estimate.stages[task.kind];
    ++stage.tasks;
    stage.work += task.work;
  }
}

// GPTQ compensates along directions that it has seen: a linear needs about as many tokens as it has inputs.
void WarnOfFewTokens(const ResolvedJob& job, JobEstimate& estimate) {
  const MoeSpec& moe = job.model.moe;
  const bool routed = std::any_of(job.parts.begin(), job.parts.end(),
                                  [](const Part& part) { return part.kind == PartKind::kExperts; });
  if (!routed || moe.experts == 0) return;
  estimate.tokens_per_expert = estimate.calibration_tokens * moe.top_k / moe.experts;
  const int64_t in = std::max(job.model.hidden, moe.width);
  const double enough = job.spec.gptq.min_tokens_ratio * static_cast<double>(in);
  const auto needed = [&](double tokens_per_expert) {
    return static_cast<int64_t>(tokens_per_expert * static_cast<double>(moe.experts) /
                                static_cast<double>(moe.top_k)) +
           1;
  };
  if (static_cast<double>(estimate.tokens_per_expert) < enough) {
    estimate.warnings.push_back(absl::StrCat("an expert will see about ", estimate.tokens_per_expert,
                                             " calibration tokens, and below ", static_cast<int64_t>(enough),
                                             " a linear is rounded instead of solved: give at least ",
                                             needed(enough), " tokens"));
  } else if (estimate.tokens_per_expert < in) {
    estimate.warnings.push_back(absl::StrCat(
        "an expert will see about ", estimate.tokens_per_expert, " calibration tokens, fewer than its ", in,
        " inputs, so its Hessian has not full rank: ", needed(static_cast<double>(in)),
        " tokens would give it"));
  }
}

void WarnOfShortText(const ResolvedJob& job, JobEstimate& estimate) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t asked = int64_t{calibration.samples} * calibration.sequence_length + StartTokens(calibration);
  if (estimate.calibration_tokens >= asked) return;
  estimate.warnings.push_back(absl::StrCat("the calibration text has about ",
                                           calibration.text.size_bytes / kBytesPerToken, " tokens, of ",
                                           asked, " that were asked"));
}

// Plans are measured on windows that no solve uses: where the text ends too soon, on fewer, or on the same
// text.
void WarnOfShortSample(const ResolvedJob& job, JobEstimate& estimate) {
  if (!HasVerdict(job)) return;
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t sample = 2 * kSampleWindows * StartLength(calibration.sequence_length);
  // A quarter of the text at most.
  const int64_t wanted =
      std::max(int64_t{calibration.samples} * calibration.sequence_length + sample, 4 * sample);
  const int64_t missing = wanted - calibration.text.size_bytes / kBytesPerToken;
  if (missing <= 0) return;
  estimate.warnings.push_back(
      absl::StrCat("about ", missing, " more tokens of calibration text would give the ", 2 * kSampleWindows,
                   " windows on which plans are measured text that no solve uses"));
}

// A budget is a limit, so more than any plan can use is allowed; but who asks for it may have mistyped.
void WarnOfLargeBudget(const ResolvedJob& job, JobEstimate& estimate) {
  const Budget& budget = job.spec.budget;
  const auto warn = [&estimate](absl::string_view unit, double asked, double maximum) {
    if (asked <= maximum) return;
    estimate.warnings.push_back(absl::StrCat("the budget is above the largest plan, which takes ",
                                             absl::StrFormat("%.10g", maximum), " ", unit,
                                             ": all linears get their largest width"));
  };
  if (budget.average_bits) warn("average bits", *budget.average_bits, job.sizes.maximum_average_bits);
  if (budget.stored_bits) warn("stored bits", *budget.stored_bits, job.sizes.maximum_stored_bits);
  if (budget.max_bytes)
    warn("bytes", static_cast<double>(*budget.max_bytes), static_cast<double>(job.sizes.maximum_bytes));
  if (budget.rank_bytes) {
    warn("bytes per rank", static_cast<double>(budget.rank_bytes->max_bytes),
         static_cast<double>(job.sizes.maximum_rank_bytes));
  }
}

}  // namespace

int JobEstimate::tasks() const {
  int tasks = 0;
  for (const auto& [kind, stage] : stages) tasks += stage.tasks;
  return tasks;
}

JobEstimate EstimateWork(const ResolvedJob& job) {
  JobEstimate estimate;
  estimate.original_bytes = job.original_bytes;
  estimate.sizes = job.sizes;
  for (const Part& part : job.parts) estimate.quantized_linears += static_cast<int64_t>(part.linears.size());
  CountTasks(job, estimate);
  estimate.warnings = job.warnings;
  WarnOfFewTokens(job, estimate);
  WarnOfShortText(job, estimate);
  WarnOfShortSample(job, estimate);
  WarnOfLargeBudget(job, estimate);
  return estimate;
}

absl::StatusOr<JobEstimate> EstimateNeeds(const ResolvedJob& job) {
  JobEstimate estimate = EstimateWork(job);
  RETURN_IF_ERROR(PredictBytes(job, estimate));
  return estimate;
}

}  // namespace quantmoe
