#include "quant/tasks/run_task.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/status_macros.h"
#include "quant/compute_device.h"
#include "quant/instruction_set.h"
#include "quant/tasks/arguments.h"
#include "quant/torch_guard.h"

namespace quantmoe {
namespace {

absl::StatusOr<TaskOutputs> Dispatch(TaskKind kind, const TaskArguments& arguments, TaskContext& context) {
  switch (kind) {
    case TaskKind::kPrepare:
      return RunPrepare(arguments, context);
    case TaskKind::kForward:
      return RunForward(arguments, context);
    case TaskKind::kSolve:
      return RunSolve(arguments, context);
    case TaskKind::kProbe:
      return RunProbe(arguments, context);
    case TaskKind::kPredict:
      return RunPredict(arguments, context);
    case TaskKind::kAllocate:
      return RunAllocate(arguments, context);
    case TaskKind::kRefine:
      return RunRefine(arguments, context);
    case TaskKind::kResolve:
      return RunResolve(arguments, context);
    case TaskKind::kAssemble:
      return RunAssemble(arguments, context);
    case TaskKind::kEvaluate:
      return RunEvaluate(arguments, context);
    case TaskKind::kPublish:
      return RunPublish(arguments, context);
  }
  return absl::UnimplementedError("unknown kind of task");
}

}  // namespace

absl::StatusOr<std::vector<BlobRef>> RunTask(TaskKind kind, const std::string& params_json,
                                             const std::vector<BlobRef>& inputs, TaskContext& context) {
  absl::StatusOr<TaskOutputs> outputs =
      RunGuardedOr<TaskOutputs>(TaskKindName(kind), [&]() -> absl::StatusOr<TaskOutputs> {
        const c10::InferenceMode inference;
        ASSIGN_OR_RETURN(const TaskArguments arguments, TaskArguments::Parse(params_json, inputs));
        RETURN_IF_ERROR(CheckCancelled(context));
        return Dispatch(kind, arguments, context);
      });
  // A broken device shows itself in whatever call comes next, under many names.
  if (!outputs.ok()) RETURN_IF_ERROR(CheckComputeDevice());
  return outputs;
}

std::string DeterminismClass() {
  const ComputeDevice& device = CurrentComputeDevice();
  const std::string cpu = absl::StrCat("cpu-", InstructionSetClass(BestInstructionSet()), "-torch2.15-v6");
  return device.is_gpu() ? absl::StrCat(device.determinism, "-", cpu) : cpu;
}

void SetComputeThreads(int threads) {
  // Without it MKL splits long sums over threads, and their number would show in the bits
  // (docs/decisions/0007-same-bits-for-any-thread-count.md). It is read at the first product.
  if (BestInstructionSet() == InstructionSet::kAvx512) setenv("MKL_CBWR", "AVX512,STRICT", /*overwrite=*/1);
  if (BestInstructionSet() == InstructionSet::kAvx2) setenv("MKL_CBWR", "AVX2,STRICT", /*overwrite=*/1);
  at::set_num_threads(threads);
}

int ComputeThreads() { return at::get_num_threads(); }

void SetTaskThreads(int threads) { at::set_num_threads(threads); }

}  // namespace quantmoe
