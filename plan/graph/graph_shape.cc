#include "plan/graph/graph_shape.h"

#include <algorithm>

#include "plan/heuristics/global_heuristics.h"

namespace quantmoe {
namespace {

struct ByLayer {
  bool operator()(const Part& part, int layer) const { return part.layer < layer; }
  bool operator()(int layer, const Part& part) const { return layer < part.layer; }
};

}  // namespace

std::span<const Part> PartsOf(const ResolvedJob& job, int layer) {
  const auto [begin, end] = std::equal_range(job.parts.begin(), job.parts.end(), layer, ByLayer{});
  return {begin, end};
}

bool SolvesAgain(const ResolvedJob& job) { return job.spec.gptq.propagation == Propagation::kQuantized; }

bool WeighsBySensitivity(const ResolvedJob& job) {
  return HeuristicOf(job.spec).Needs(Statistic::kSensitivity, job.spec.heuristic_params);
}

int ProbeGroupsOf(const ResolvedJob& job, int layer) {
  bool mlp = false, experts = false;
  for (const Part& part : PartsOf(job, layer)) {
    mlp |= part.kind == PartKind::kDense || part.kind == PartKind::kShared;
    experts |= part.kind == PartKind::kExperts;
  }
  return 1 + mlp + experts;
}

std::vector<int> PredictedLayers(const ResolvedJob& job) {
  std::vector<int> layers;
  if (!HeuristicOf(job.spec).Needs(Statistic::kPredictedCosine, job.spec.heuristic_params)) return layers;
  for (int l = 0; l < job.model.num_layers(); ++l) {
    if (job.model.layers[static_cast<size_t>(l)].moe) layers.push_back(l);
  }
  return layers;
}

bool HasToWin(const ResolvedJob& job) { return HeuristicOf(job.spec).run == Optimal; }

bool HasVerdict(const ResolvedJob& job) { return HasToWin(job) || !job.spec.evaluation.skip; }

bool HasReference(const ResolvedJob& job) {
  return HeuristicOf(job.spec).run != Uniform && !job.spec.evaluation.skip && !SolvesAgain(job);
}

}  // namespace quantmoe
