// The flags of benchmarks: files by the name of their task, where the job file has a list.
#pragma once

#include <vector>

#include "base/error_info.h"
#include "cli/typed_flags.h"
#include "plan/options/evaluation_spec.h"
#include "plan/options/option.h"

namespace quantmoe::cli {

const std::vector<OptionInfo>& TaskFlags();

// The tasks of --tasks, --task and --fewshot, sorted by name; single files win over the directory's. --limit
// is of all tasks.
std::vector<BenchmarkTaskSpec> ReadTasks(const TypedFlags& flags, std::vector<FieldViolation>& violations);
// The same for tasks that a job file has. Nothing without --limit.
void LimitTasks(const TypedFlags& flags, std::vector<BenchmarkTaskSpec>& tasks,
                std::vector<FieldViolation>& violations);

}  // namespace quantmoe::cli
