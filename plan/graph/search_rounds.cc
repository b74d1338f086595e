#include "plan/graph/search_rounds.h"

#include <algorithm>
#include <cmath>

#include "plan/graph/graph_shape.h"
#include "plan/graph/task_work.h"

namespace quantmoe {
namespace {

constexpr double kMostPasses = 150;
constexpr int kMostRounds = 64;

// Shards as they were asked: a text that is shorter is known only to `prepare`.
int AskedShards(const CalibrationSpec& calibration) {
  const int in_shard = StartsOfShard(calibration.shard_sequences, calibration.sequence_length);
  return (calibration.samples + calibration.shard_sequences - 1) / calibration.shard_sequences +
         (calibration.starts.value_or(0) + in_shard - 1) / in_shard;
}

}  // namespace

int DefaultEffort(const ResolvedJob& job) {
  const int shards = AskedShards(job.spec.calibration);
  double work = 0;
  for (int l = 0; l < job.model.num_layers(); ++l) work += shards * ForwardWork(job, l);
  for (const Part& part : job.parts) work += SolveWork(job, part, shards);
  const double passes = std::min(kMostPasses, work / PassWork(job));
  return static_cast<int>(std::ceil(std::max(passes, SearchRoundWork(job) / PassWork(job))));
}

int SearchRounds(const ResolvedJob& job) {
  // With one width there is nothing to move.
  if (!HasToWin(job) || PlanWidths(job.spec).size() < 2) return 0;
  const int effort = job.spec.effort.value_or(DefaultEffort(job));
  const auto rounds =
      static_cast<int>(std::min<double>(kMostRounds, effort * PassWork(job) / SearchRoundWork(job)));
  return std::max(rounds, effort > 0 ? 1 : 0);
}

}  // namespace quantmoe
