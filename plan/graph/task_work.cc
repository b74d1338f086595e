#include "plan/graph/task_work.h"

#include "plan/graph/graph_shape.h"
#include "plan/graph/task_definition.h"

namespace quantmoe {
namespace {

// Weights of the layer that one token passes.
double ActiveWeights(const ResolvedJob& job, int layer) {
  const MoeSpec& moe = job.model.moe;
  double weights = 0;
  for (const Part& part : PartsOf(job, layer)) {
    for (const Linear& linear : part.linears) {
      const double share = IsExpert(linear.kind) && moe.experts > 0
                               ? static_cast<double>(moe.top_k) / static_cast<double>(moe.experts)
                               : 1.0;
      weights += share * static_cast<double>(linear.weights());
    }
  }
  return weights;
}

double ShardTokens(const ResolvedJob& job) {
  const CalibrationSpec& calibration = job.spec.calibration;
  return static_cast<double>(calibration.shard_sequences) * calibration.sequence_length;
}

double SampleTokens(const ResolvedJob& job) {
  return static_cast<double>(kSampleWindows * StartLength(job.spec.calibration.sequence_length));
}

// Scores of all heads against all positions, and their sums of values.
double ScoreWork(const ResolvedJob& job, double length) {
  const AttentionSpec& a = job.model.attention;
  return static_cast<double>(a.heads) * static_cast<double>(a.head_dim + a.value_dim) * length;
}

// Some streams of the probes' sample through `weights`, and the original's beside them at the head.
double StreamsWork(const ResolvedJob& job, double weights, int streams) {
  const int64_t tokens = kProbeWindows * StartLength(job.spec.calibration.sequence_length);
  const double head = static_cast<double>(job.model.vocab * job.model.hidden);
  return static_cast<double>(tokens) * (streams * weights + (streams + 1) * head);
}

double WeightsFrom(const ResolvedJob& job, int layer) {
  double weights = 0;
  for (int l = layer; l < job.model.num_layers(); ++l) weights += ActiveWeights(job, l);
  return weights;
}

}  // namespace

double ForwardWork(const ResolvedJob& job, int layer) {
  return ShardTokens(job) *
         (ActiveWeights(job, layer) + ScoreWork(job, job.spec.calibration.sequence_length));
}

// in^2 a token for the Hessian, in^3 / 3 for the factor, out in^2 for each width.
double SolveWork(const ResolvedJob& job, const Part& part, int shards) {
  const MoeSpec& moe = job.model.moe;
  double work = 0;
  for (const Linear& linear : part.linears) {
    const double in = static_cast<double>(linear.in), out = static_cast<double>(linear.out);
    const double share = IsExpert(linear.kind) && moe.experts > 0
                             ? static_cast<double>(moe.top_k) / static_cast<double>(moe.experts)
                             : 1.0;
    const double tokens = share * ShardTokens(job) * shards;
    work += tokens * in * (in + out) + in * in * in / 3 +
            static_cast<double>(job.spec.gptq.widths.size()) * out * in * in;
  }
  return work;
}

double ProbeWork(const ResolvedJob& job, int layer) {
  return StreamsWork(job, WeightsFrom(job, layer), ProbeGroupsOf(job, layer));
}

double MovesWork(const ResolvedJob& job, int layer) {
  return StreamsWork(job, WeightsFrom(job, layer), 2 * ProbeGroupsOf(job, layer));
}

double SearchRoundWork(const ResolvedJob& job) {
  double work = RefineWork(job), weights = 0;
  for (int l = static_cast<int>(job.model.num_layers()) - 1; l >= 0; --l) {
    weights += ActiveWeights(job, l);
    work += StreamsWork(job, weights, 2 * ProbeGroupsOf(job, l));
  }
  return work;
}

double PassWork(const ResolvedJob& job) {
  return SampleTokens(job) *
         (WeightsFrom(job, /*layer=*/0) + static_cast<double>(job.model.vocab * job.model.hidden));
}

double PredictWork(const ResolvedJob& job, int shards) {
  constexpr double kEpochs = 10, kPasses = 3;
  return kEpochs * kPasses * ShardTokens(job) * shards *
         static_cast<double>(kPredictorWidth * job.model.hidden);
}

double RefineWork(const ResolvedJob& job) { return (2.5 + kStepTries) * PassWork(job); }

double VerdictWork(const ResolvedJob& job) {
  constexpr double kPasses = 3;
  return kPasses * PassWork(job);
}

double EvaluateWork(const ResolvedJob& job) {
  double weights = static_cast<double>(job.model.vocab * job.model.hidden);
  for (int l = 0; l < job.model.num_layers(); ++l) {
    weights += ActiveWeights(job, l) + ScoreWork(job, job.spec.evaluation.window);
  }
  return weights * kEvaluationShardTokens;
}

double WholeModelWork(const ResolvedJob& job) { return static_cast<double>(job.original_bytes); }

}  // namespace quantmoe
