#include "plan/graph/quantized_pass.h"

#include "plan/graph/graph_shape.h"
#include "plan/graph/task_kinds.h"

namespace quantmoe {

void AddQuantizedPass(const ResolvedJob& job, int shards, std::vector<TaskDefinition>& tasks) {
  const auto solve_again = [&](const Part& part) {
    tasks.push_back(MakeTask(job, TaskKind::kReSolve, {.part = &part, .shards = shards}));
  };
  const auto carry_on = [&](int layer, LayerHalf half) {
    for (int s = 0; s < shards; ++s)
      tasks.push_back(MakeTask(job, TaskKind::kForward, {.layer = layer, .half = half, .number = s}));
  };

  for (int layer = 0; layer < job.model.num_layers(); ++layer) {
    for (const Part& part : PartsOf(job, layer)) {
      solve_again(part);
      if (part.kind == PartKind::kAttention) carry_on(layer, LayerHalf::kAttention);
    }
    // Nothing reads what the last layer gives.
    if (layer + 1 < job.model.num_layers()) carry_on(layer, LayerHalf::kFeedForward);
  }
  tasks.push_back(MakeTask(job, TaskKind::kAssemble, {}));
}

}  // namespace quantmoe
