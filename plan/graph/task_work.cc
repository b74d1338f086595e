#include "plan/graph/task_work.h"

#include "plan/graph/task_definition.h"

namespace quantmoe {
namespace {

// Weights of the layer that one token passes.
double ActiveWeights(const ResolvedJob& job, int layer) {
  const MoeSpec& moe = job.model.moe;
  double weights = 0;
  for (const Part& part : job.parts) {
    if (part.layer != layer) continue;
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
  double weights = 0;
  for (int l = layer; l < job.model.num_layers(); ++l) weights += ActiveWeights(job, l);
  constexpr double kGroups = 2;
  const int64_t tokens = kProbeWindows * StartLength(job.spec.calibration.sequence_length);
  const double head = static_cast<double>(job.model.vocab * job.model.hidden);
  return static_cast<double>(tokens) * (kGroups * weights + (kGroups + 1) * head);
}

double PredictWork(const ResolvedJob& job, int shards) {
  constexpr double kEpochs = 10, kPasses = 3;
  return kEpochs * kPasses * ShardTokens(job) * shards *
         static_cast<double>(kPredictorWidth * job.model.hidden);
}

double RefineWork(const ResolvedJob& job) {
  double weights = static_cast<double>(job.model.vocab * job.model.hidden);
  for (int l = 0; l < job.model.num_layers(); ++l) weights += ActiveWeights(job, l);
  return weights * SampleTokens(job) * (2 + 0.5 * job.spec.refinement.trials);
}

double VerdictWork(const ResolvedJob& job) {
  double weights = static_cast<double>(job.model.vocab * job.model.hidden);
  for (int l = 0; l < job.model.num_layers(); ++l) weights += ActiveWeights(job, l);
  constexpr double kPasses = 3;
  return weights * SampleTokens(job) * kPasses;
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
