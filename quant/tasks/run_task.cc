#include "quant/tasks/run_task.h"

#include <atomic>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/status_macros.h"
#include "quant/device/compute_device.h"
#include "quant/device/instruction_set.h"
#include "quant/device/torch_guard.h"
#include "quant/tasks/arguments.h"
#include "storage/mapped_reads.h"

namespace quantmoe {

TaskFunction RunPrepare, RunForward, RunSolve, RunProbe, RunPredict, RunAllocate, RunRefine, RunVerdict,
    RunReSolve, RunAssemble, RunEvaluate, RunPublish;

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
    case TaskKind::kVerdict:
      return RunVerdict(arguments, context);
    case TaskKind::kReSolve:
      return RunReSolve(arguments, context);
    case TaskKind::kAssemble:
      return RunAssemble(arguments, context);
    case TaskKind::kEvaluate:
      return RunEvaluate(arguments, context);
    case TaskKind::kPublish:
      return RunPublish(arguments, context);
  }
  return absl::UnimplementedError("unknown kind of task");
}

std::atomic<int> compute_threads = 1;

}  // namespace

absl::StatusOr<std::vector<BlobRef>> RunTask(TaskKind kind, const std::string& params_json,
                                             const std::vector<BlobRef>& inputs, TaskContext& context) {
  if (context.device == nullptr) return absl::InternalError("a task was given no device to run on");
  const MappedReads reads;
  absl::StatusOr<TaskOutputs> outputs =
      RunGuardedOr<TaskOutputs>(TaskKindName(kind), [&]() -> absl::StatusOr<TaskOutputs> {
        const c10::InferenceMode inference;
        ASSIGN_OR_RETURN(const TaskArguments arguments, TaskArguments::Parse(params_json, inputs));
        RETURN_IF_ERROR(CheckCancelled(context));
        return Dispatch(kind, arguments, context);
      });
  // Whatever the task says, it may say because of zeros in the place of what an input has lost.
  RETURN_IF_ERROR(reads.Check());
  // A broken device shows itself in whatever call comes next, under many names.
  if (!outputs.ok()) RETURN_IF_ERROR(context.device->Check());
  return outputs;
}

std::string DeterminismClass(const ComputeDevice& device) {
  const std::string cpu = absl::StrCat("cpu-", CpuDeterminism(), "-torch2.15-v7");
  return device.is_gpu() ? absl::StrCat(device.determinism, "-", cpu) : cpu;
}

void SetComputeThreads(int threads) {
  compute_threads = threads;
  SetTaskThreads(threads);
}

int ComputeThreads() { return compute_threads; }

void SetTaskThreads(int threads) {
  // MKL splits long sums over threads where it has no strict mode, and their number would show in the bytes
  // (docs/decisions/0007-same-bits-for-any-thread-count.md). Tasks beside each other are still possible.
  at::set_num_threads(CurrentInstructionSet() == InstructionSet::kBaseline ? 1 : threads);
}

}  // namespace quantmoe
