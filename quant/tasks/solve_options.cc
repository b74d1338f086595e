#include "quant/tasks/solve_options.h"

#include "base/status_macros.h"
#include "plan/options/spec_json.h"

namespace quantmoe {

SolveOptions SolveOptionsOf(const GptqSpec& gptq) {
  SolveOptions options;
  options.widths = gptq.widths;
  options.group_size = gptq.group_size;
  options.damp = gptq.damp;
  options.order = gptq.order;
  options.scales = gptq.scales;
  options.min_tokens_ratio = gptq.min_tokens_ratio;
  return options;
}

absl::StatusOr<SolveOptions> ReadSolveOptions(const TaskArguments& arguments, const TaskContext& context) {
  JobSpec spec;
  RETURN_IF_ERROR(ReadTaskParams(arguments.params(), kSolveTasks, spec));
  SolveOptions options = SolveOptionsOf(spec.gptq);
  options.cancelled = &context.cancelled;
  return options;
}

absl::StatusOr<ExpertCalibration> ReadExpertCalibration(const TaskArguments& arguments) {
  JobSpec spec;
  RETURN_IF_ERROR(ReadTaskParams(arguments.params(), kSolveTasks, spec));
  ExpertCalibration calibration;
  calibration.gate_weighted = spec.gptq.gate_weighted;
  calibration.shrinkage = spec.gptq.shrinkage;
  ASSIGN_OR_RETURN(calibration.all_tokens, arguments.Param<std::set<int64_t>>("all_tokens"));
  return calibration;
}

}  // namespace quantmoe
