// evaluate: one shard of benchmark items and perplexity windows, through the original weights or those of a
// plan.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/shard_scoring.h"

namespace quantmoe {

absl::StatusOr<TaskOutputs> RunEvaluate(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const std::string which, arguments.Param<std::string>("weights"));
  ASSIGN_OR_RETURN(const Digest requests, arguments.Input("requests"));
  ASSIGN_OR_RETURN(const MappedFile blob, context.blobs.Open(requests));
  ASSIGN_OR_RETURN(const EvalShard shard, ParseShard({blob.bytes().data(), blob.bytes().size()}));
  CheckpointWeights original(model.spec, model.checkpoint, at::kFloat);
  WeightSource* weights = &original;
  std::optional<PlannedWeights> planned;
  if (which != "original") {
    ASSIGN_OR_RETURN(const Digest digest, arguments.Input("plan"));
    ASSIGN_OR_RETURN(const MappedFile text, context.blobs.Open(digest));
    ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(text.bytes()));
    planned.emplace(plan, original, context.blobs);
    weights = &*planned;
  }
  ASSIGN_OR_RETURN(const ShardScores scores,
                   ScoreShard(shard, model.spec, *weights, [&](int done, int layers) {
                     context.progress(static_cast<double>(done) / (layers + 1), which);
                     return CheckCancelled(context);
                   }));
  ASSIGN_OR_RETURN(const Digest digest, context.blobs.Put(SerializeScores(scores)));
  return TaskOutputs{{"scores", digest}};
}

}  // namespace quantmoe
