// The one entry to the numerics for both the worker and quantmoe-local: blobs in, blobs out, no knowledge of
// who asks. A result depends on kind, params and inputs only (and the determinism class of the machine).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_kind.h"
#include "quant/tasks/task_context.h"

namespace quantmoe {

// Runs one task on the device of `context`. Errors: INVALID_ARGUMENT or FAILED_PRECONDITION for bad input
// (permanent), RESOURCE_EXHAUSTED for memory, CANCELLED, others for infrastructure. No exception leaves.
absl::StatusOr<std::vector<BlobRef>> RunTask(TaskKind kind, const std::string& params_json,
                                             const std::vector<BlobRef>& inputs, TaskContext& context);

// What hardware and libraries may change in the bytes of tasks on `device`: instruction set, library
// versions, the device itself.
std::string DeterminismClass(const ComputeDevice& device);

// Sets the number of threads of the numerics for the process; call once, before the first task.
void SetComputeThreads(int threads);
int ComputeThreads();
// The same for tasks that the calling thread runs from now on; they never change a result.
void SetTaskThreads(int threads);

}  // namespace quantmoe
