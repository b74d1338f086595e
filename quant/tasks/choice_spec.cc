#include "quant/tasks/choice_spec.h"

#include "base/status_macros.h"
#include "plan/options/spec_json.h"

namespace quantmoe {

absl::StatusOr<JobSpec> ReadChoiceSpec(const TaskArguments& arguments) {
  JobSpec spec;
  RETURN_IF_ERROR(ReadTaskParams(arguments.params(), kChoiceTasks, spec));
  return spec;
}

}  // namespace quantmoe
