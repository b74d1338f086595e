// assemble: the plan of the allocation, with the tensors that the quantized pass solved in place of the first
// ones.
#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/job/job_allocation.h"
#include "quant/tasks/arguments.h"

namespace quantmoe {
namespace {

absl::StatusOr<BitPlan> ReadPlan(BlobStore& blobs, const Digest& digest) {
  ASSIGN_OR_RETURN(const MappedFile text, blobs.Open(digest));
  return BitPlanFromJson(text.bytes());
}

// Takes blob, method and fallback of every linear from the fragments.
absl::Status Replace(const std::map<std::string, PlannedLinear>& re_solved, BitPlan& plan) {
  double fallbacks = 0;
  for (PlannedLinear& linear : plan.linears) {
    const auto found = re_solved.find(linear.linear.name);
    if (found == re_solved.end())
      return absl::InternalError(absl::StrCat(linear.linear.name, " was not solved again"));
    linear.blob = found->second.blob;
    linear.method = found->second.method;
    linear.fallback = found->second.fallback;
    fallbacks += linear.fallback.empty() ? 0 : 1;
  }
  plan.fallback_ratio = plan.linears.empty() ? 0 : fallbacks / static_cast<double>(plan.linears.size());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TaskOutputs> RunAssemble(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const Digest allocated, arguments.Input("plan"));
  ASSIGN_OR_RETURN(BitPlan plan, ReadPlan(context.blobs, allocated));
  std::map<std::string, PlannedLinear> re_solved;
  for (const auto& [role, digest] : arguments.inputs()) {
    if (!role.starts_with("resolved.")) continue;
    ASSIGN_OR_RETURN(const BitPlan fragment, ReadPlan(context.blobs, digest));
    for (const PlannedLinear& linear : fragment.linears) re_solved[linear.linear.name] = linear;
  }
  RETURN_IF_ERROR(Replace(re_solved, plan));
  ASSIGN_OR_RETURN(const double limit, arguments.Param<double>("max_fallback_ratio"));
  RETURN_IF_ERROR(CheckFallbacks(plan.fallback_ratio, limit));
  ASSIGN_OR_RETURN(const Digest digest, context.blobs.Put(BitPlanToJson(plan)));
  return TaskOutputs{{"plan", digest}};
}

}  // namespace quantmoe
