// The options of the solver as task parameters: the same for the first solve and for the one behind quantized
// layers.
#pragma once

#include "absl/status/statusor.h"

#include "plan/options/gptq_spec.h"
#include "quant/gptq/solver.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/expert_rows.h"

namespace quantmoe {

// What a job asks of the solver.
SolveOptions SolveOptionsOf(const GptqSpec& gptq);

// INVALID_ARGUMENT names a missing parameter. `context` must outlive the options.
absl::StatusOr<SolveOptions> ReadSolveOptions(const TaskArguments& arguments, const TaskContext& context);

// The parameters `gate_weighted`, `shrinkage` and `all_tokens`; INVALID_ARGUMENT names a missing one.
absl::StatusOr<ExpertCalibration> ReadExpertCalibration(const TaskArguments& arguments);

}  // namespace quantmoe
