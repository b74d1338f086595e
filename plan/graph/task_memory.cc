#include "plan/graph/task_memory.h"

#include <algorithm>
#include <map>

#include "plan/graph/task_definition.h"
#include "plan/model/logit_rows.h"

namespace quantmoe {
namespace {

constexpr int64_t kFloat = 4;                      // all arithmetic is in f32
constexpr int64_t kTextBytes = int64_t{64} << 20;  // tokenizer, text and token ids

int64_t PartWeights(const Part& part) {
  int64_t weights = 0;
  for (const Linear& linear : part.linears) weights += linear.weights();
  return weights;
}

// Weights of the largest part of a layer (-1: of any layer): one part is in memory at a time.
int64_t LargestPart(const ResolvedJob& job, int layer) {
  int64_t most = 0;
  for (const Part& part : job.parts) {
    if (layer < 0 || part.layer == layer) most = std::max(most, PartWeights(part));
  }
  return most;
}

// The widest inner activation of a layer.
int64_t InnerWidth(const ModelSpec& model, const LayerSpec& layer) {
  const AttentionSpec& a = model.attention;
  const int64_t latent = a.mla ? a.q_lora + a.kv_lora + a.heads * (a.nope_dim + a.value_dim) : 0;
  const int64_t attention = (a.heads + a.kv_heads) * (a.head_dim + a.value_dim) + latent;
  const int64_t ffn = layer.moe ? 3 * std::max(model.moe.width, model.moe.shared_width) + model.moe.experts
                                : 3 * layer.dense_width;
  return std::max(attention, ffn);
}

// One layer over `sequences` of `length` tokens: part weights, one linear as it is stored + tokens * (4
// hidden + inner widths) + one sequence's scores of all heads.
int64_t LayerBytes(const ResolvedJob& job, int layer, int64_t sequences, int64_t length) {
  const ModelSpec& model = job.model;
  int64_t inner = 0;
  for (int64_t l = 0; l < model.num_layers(); ++l) {
    if (layer < 0 || layer == l) inner = std::max(inner, InnerWidth(model, model.layers[l]));
  }
  const int64_t activations = sequences * length * (4 * model.hidden + inner);
  const int64_t scores = 2 * model.attention.heads * length * length;
  return kFloat * (LargestPart(job, layer) + activations + scores) + job.read_bytes;
}

// The head with the logits of some rows, their probabilities, and the same of another stream.
int64_t HeadBytes(const ModelSpec& model) {
  return kFloat * model.vocab * (model.hidden + 4 * LogitRows(model.vocab));
}

}  // namespace

// Every linear is looked at, one at a time; then the embedding + one shard of hidden states, as computed and
// as written; and text.
int64_t PrepareBytes(const ResolvedJob& job) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t tokens = std::max(int64_t{calibration.shard_sequences} * calibration.sequence_length,
                                  kSampleWindows * StartLength(calibration.sequence_length));
  const int64_t look = kFloat * LargestPart(job, /*layer=*/-1) + job.read_bytes;
  return std::max(look, kFloat * job.model.hidden * (job.model.vocab + 2 * tokens)) + kTextBytes;
}

int64_t ForwardBytes(const ResolvedJob& job, int layer) {
  return LayerBytes(job, layer, job.spec.calibration.shard_sequences, job.spec.calibration.sequence_length);
}

int64_t SampleForwardBytes(const ResolvedJob& job, int layer) {
  return LayerBytes(job, layer, kProbeWindows, StartLength(job.spec.calibration.sequence_length));
}

// Part weights, one linear as it is stored + one shard in f32 (hidden and the widest inner activation, twice)
// + for the largest linear Hessian, factor and two work copies (4 in^2) and per width the weights, their
// codes and errors (3 out*in) + the packed results (<= 9/8 byte a weight and width). Attention also holds the
// Hessians of its other inputs, experts those of the down projection and of what may support both.
int64_t SolveBytes(const ResolvedJob& job, const Part& part) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t widths = static_cast<int64_t>(job.spec.gptq.widths.size());
  const int64_t tokens = int64_t{calibration.shard_sequences} * calibration.sequence_length;
  int64_t in = 0;
  int64_t largest = 0;
  std::map<LinearKind, int64_t> hessians;
  for (const Linear& linear : part.linears) {
    in = std::max(in, linear.in);
    largest = std::max(largest, linear.weights());
    if (IsAttention(linear.kind)) hessians[AttentionInputOf(linear.kind)] = linear.in * linear.in;
  }
  int64_t others = hessians.empty() ? 0 : -in * in;
  for (const auto& [kind, size] : hessians) others += size;
  if (part.kind == PartKind::kExperts) others += 3 * in * in;
  const int64_t floats = PartWeights(part) + 2 * tokens * (job.model.hidden + in) + 4 * in * in + others +
                         3 * (widths + 1) * largest;
  return kFloat * floats + PartWeights(part) * widths * 9 / 8 + job.read_bytes;
}

// As much as a solve, with the rows of a second stream and the products of the drift with the inputs.
int64_t ReSolveBytes(const ResolvedJob& job, const Part& part) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t tokens = int64_t{calibration.shard_sequences} * calibration.sequence_length;
  int64_t in = 0;
  for (const Linear& linear : part.linears) in = std::max(in, linear.in);
  return SolveBytes(job, part) +
         kFloat * (PartWeights(part) + 2 * tokens * (job.model.hidden + in) + 2 * in * in);
}

// A layer over all streams, with two sets of final states and the head.
int64_t ProbeBytes(const ResolvedJob& job, int streams) {
  const int64_t length = StartLength(job.spec.calibration.sequence_length);
  const int64_t windows = streams * kProbeWindows;
  const int64_t states = 2 * kFloat * windows * length * job.model.hidden;
  return LayerBytes(job, /*layer=*/-1, windows, length) + HeadBytes(job.model) + states;
}

// All rows of the calibration text with what the network makes of one sequence, and an expert.
int64_t PredictBytes(const ResolvedJob& job, int layer) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const int64_t tokens =
      int64_t{calibration.samples} * calibration.sequence_length + StartTokens(calibration);
  return kFloat * tokens * job.model.hidden + 6 * kFloat * kPredictorWidth * job.model.hidden +
         ForwardBytes(job, layer);
}

// A row of the table and of the plan, parsed and as text.
int64_t AllocateBytes(const ResolvedJob& job) {
  constexpr int64_t kRowBytes = 8192;
  int64_t rows = 0;
  for (const Part& part : job.parts) rows += static_cast<int64_t>(part.linears.size());
  return rows * kRowBytes + kTextBytes;
}

// A layer over the whole sample, with its embedding and the last states of the original model, of the plan
// and of a try; the head, and the table.
int64_t RefineBytes(const ResolvedJob& job) {
  const int64_t length = StartLength(job.spec.calibration.sequence_length);
  const int64_t states = 4 * kFloat * kSampleWindows * length * job.model.hidden;
  return LayerBytes(job, /*layer=*/-1, kSampleWindows, length) + HeadBytes(job.model) + states +
         AllocateBytes(job);
}

// A layer over a batch of windows, and the head.
int64_t EvaluateBytes(const ResolvedJob& job) {
  const int64_t window = std::max(job.spec.evaluation.window, 1);
  return LayerBytes(job, /*layer=*/-1, job.spec.calibration.shard_sequences, window) + HeadBytes(job.model);
}

// Tensors are copied one at a time: the largest is the embedding or a packed part.
int64_t PublishBytes(const ResolvedJob& job) {
  return 2 * std::max(kFloat * job.model.vocab * job.model.hidden, 2 * LargestPart(job, -1)) +
         AllocateBytes(job);
}

}  // namespace quantmoe
