#include "quant/tasks/solve_options.h"

#include "base/status_macros.h"

namespace quantmoe {

absl::StatusOr<SolveOptions> ReadSolveOptions(const TaskArguments& arguments, const TaskContext& context) {
  SolveOptions options;
  ASSIGN_OR_RETURN(options.widths, arguments.Param<std::vector<int>>("widths"));
  ASSIGN_OR_RETURN(options.group_size, arguments.Param<int>("group_size"));
  ASSIGN_OR_RETURN(options.damp, arguments.Param<double>("damp"));
  ASSIGN_OR_RETURN(const std::string order, arguments.Param<std::string>("order"));
  ASSIGN_OR_RETURN(options.order, ParseColumnOrder(order));
  ASSIGN_OR_RETURN(const std::string scales, arguments.Param<std::string>("scales"));
  ASSIGN_OR_RETURN(options.scales, ParseScaleRule(scales));
  ASSIGN_OR_RETURN(options.min_tokens_ratio, arguments.Param<double>("min_tokens_ratio"));
  options.cancelled = &context.cancelled;
  return options;
}

absl::StatusOr<ExpertCalibration> ReadExpertCalibration(const TaskArguments& arguments) {
  ExpertCalibration calibration;
  ASSIGN_OR_RETURN(calibration.gate_weighted, arguments.Param<bool>("gate_weighted"));
  ASSIGN_OR_RETURN(calibration.shrinkage, arguments.Param<double>("shrinkage"));
  ASSIGN_OR_RETURN(calibration.all_tokens, arguments.Param<std::set<int64_t>>("all_tokens"));
  return calibration;
}

}  // namespace quantmoe
