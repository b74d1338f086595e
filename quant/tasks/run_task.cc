#include "quant/tasks/run_task.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/status_macros.h"
#include "quant/tasks/arguments.h"
#include "quant/torch_guard.h"

namespace quantmoe {
namespace {

absl::string_view InstructionSet() {
#if defined(__x86_64__)
  // The sets that the loops are compiled for (quant/gptq/simd.h).
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  if (avx2) return "avx2";
  return "x86-64";
#else
  return "generic";
#endif
}

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
    case TaskKind::kAllocate:
      return RunAllocate(arguments, context);
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
  return RunGuardedOr<TaskOutputs>(TaskKindName(kind), [&]() -> absl::StatusOr<TaskOutputs> {
    const c10::InferenceMode inference;
    ASSIGN_OR_RETURN(const TaskArguments arguments, TaskArguments::Parse(params_json, inputs));
    RETURN_IF_ERROR(CheckCancelled(context));
    return Dispatch(kind, arguments, context);
  });
}

std::string DeterminismClass() { return absl::StrCat("cpu-", InstructionSet(), "-torch2.15-v1"); }

void SetComputeThreads(int threads) {
  // Without it MKL splits long sums over threads, and their number would show in the bits
  // (docs/decisions/0007-same-bits-for-any-thread-count.md). It is read at the first product.
  if (InstructionSet() == "avx512") setenv("MKL_CBWR", "AVX512,STRICT", /*overwrite=*/1);
  if (InstructionSet() == "avx2") setenv("MKL_CBWR", "AVX2,STRICT", /*overwrite=*/1);
  at::set_num_threads(threads);
}

}  // namespace quantmoe
