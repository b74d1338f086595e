#include "quant/model/likelihood.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/model/logit_rows.h"

namespace quantmoe {
namespace {

// For each row whether `chosen`, whose value is `picked`, is its argmax. The argmax itself, which is slow, is
// only taken of rows whose largest value it has.
at::Tensor IsFirstOfLargest(const at::Tensor& values, const at::Tensor& picked, const at::Tensor& chosen) {
  at::Tensor best = picked.eq(values.amax(-1)).contiguous();
  const at::Tensor rows = best.nonzero().squeeze(1);
  if (rows.numel() == 0) return best;
  const at::Tensor first = values.index_select(0, rows).argmax(-1);
  return best.index_copy_(0, rows, first.eq(chosen.index_select(0, rows)));
}

// The index of the first of the largest values of each row, [rows, 1]: argmax, which ATen does not vectorize.
at::Tensor FirstOfLargest(const at::Tensor& values) {
  const at::Tensor best = values.amax(1);
  at::Tensor indices = at::zeros({values.size(0), 1}, at::kLong);
  const int64_t columns = values.size(1);
  for (int64_t row = 0; row < values.size(0); ++row) {
    const float* const first = values.const_data_ptr<float>() + row * columns;
    const float* const found = std::find(first, first + columns, best.const_data_ptr<float>()[row]);
    // A row of NaN has none.
    if (found != first + columns) indices.mutable_data_ptr<int64_t>()[row] = found - first;
  }
  return indices;
}

at::Tensor LogProbabilities(const OutputHead& head, const at::Tensor& hidden) {
  return at::log_softmax(head.Logits(hidden), -1, at::kFloat);
}

// Log probabilities of some rows of the reference, and what every comparison with them needs.
struct ReferenceRows {
  at::Tensor log_p, p, top;
};

// What `log_q` holds is used up.
void Append(const ReferenceRows& reference, const at::Tensor& log_q, Divergences& divergences) {
  const at::Tensor kept_top = log_q.gather(1, reference.top).eq(log_q.amax(1, /*keepdim=*/true));
  divergences.top1_flips += kept_top.numel() - kept_top.sum().item<int64_t>();
  const at::Tensor sums = log_q.neg_().add_(reference.log_p).mul_(reference.p).sum(1).contiguous();
  const float* const values = sums.const_data_ptr<float>();
  divergences.rows.insert(divergences.rows.end(), values, values + sums.numel());
}

}  // namespace

absl::StatusOr<at::Tensor> RunLayers(
    const ModelSpec& spec, int first, at::Tensor hidden, const Batches& batches, WeightSource& source,
    const std::function<absl::Status(int layer, const at::Tensor& hidden)>& after_layer) {
  for (int layer = first; layer < spec.num_layers(); ++layer) {
    ASSIGN_OR_RETURN(LayerTrace trace, RunLayer(spec, layer, hidden, batches, source));
    hidden = std::move(trace.output);
    if (after_layer) RETURN_IF_ERROR(after_layer(layer, hidden));
  }
  return hidden;
}

absl::StatusOr<at::Tensor> RunModel(
    const ModelSpec& spec, const at::Tensor& ids, const Batches& batches, WeightSource& source,
    const std::function<absl::Status(int layer, const at::Tensor& hidden)>& after_layer) {
  ASSIGN_OR_RETURN(at::Tensor hidden, Embed(spec, ids, source));
  if (after_layer) RETURN_IF_ERROR(after_layer(-1, hidden));
  return RunLayers(spec, /*first=*/0, std::move(hidden), batches, source, after_layer);
}

absl::StatusOr<std::vector<TokenScore>> ScoreTokens(const OutputHead& head, const at::Tensor& hidden,
                                                    const std::vector<int64_t>& rows,
                                                    const std::vector<int64_t>& tokens) {
  if (rows.size() != tokens.size()) return absl::InternalError("as many rows as tokens are needed");
  std::vector<TokenScore> scores;
  scores.reserve(rows.size());
  const at::Tensor all_rows = at::tensor(rows, at::kLong), all_tokens = at::tensor(tokens, at::kLong);
  int64_t step = 1;
  for (int64_t first = 0; first < static_cast<int64_t>(rows.size()); first += step) {
    step = std::min(static_cast<int64_t>(rows.size()) - first, LogitRows(head.vocabulary()));
    const at::Tensor chosen = all_tokens.narrow(0, first, step);
    const at::Tensor log_probabilities =
        LogProbabilities(head, hidden.index_select(0, all_rows.narrow(0, first, step)));
    const at::Tensor picked = log_probabilities.gather(1, chosen.unsqueeze(1)).squeeze(1).contiguous();
    const at::Tensor best = IsFirstOfLargest(log_probabilities, picked, chosen);
    for (int64_t i = 0; i < step; ++i) {
      scores.push_back(
          {static_cast<double>(picked.const_data_ptr<float>()[i]), best.const_data_ptr<bool>()[i]});
    }
  }
  return scores;
}

std::vector<Divergences> CompareRows(const OutputHead& head, const at::Tensor& reference,
                                     const std::vector<at::Tensor>& changed) {
  std::vector<Divergences> divergences(changed.size());
  const int64_t step = LogitRows(head.vocabulary());
  for (int64_t first = 0; first < reference.size(0); first += step) {
    const int64_t rows = std::min(step, reference.size(0) - first);
    const at::Tensor log_p = LogProbabilities(head, reference.narrow(0, first, rows));
    const ReferenceRows reference_rows = {log_p, log_p.exp(), FirstOfLargest(log_p)};
    for (size_t i = 0; i < changed.size(); ++i)
      Append(reference_rows, LogProbabilities(head, changed[i].narrow(0, first, rows)), divergences[i]);
  }
  return divergences;
}

}  // namespace quantmoe
