#include "quant/model/likelihood.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"

namespace quantmoe {
namespace {

// Logits that are held at once, in numbers.
constexpr int64_t kMaxLogits = int64_t{64} << 20;

// For each row whether `chosen`, whose value is `picked`, is its argmax. The argmax itself, which is slow, is
// only taken of rows whose largest value it has.
at::Tensor IsFirstOfLargest(const at::Tensor& values, const at::Tensor& picked, const at::Tensor& chosen) {
  at::Tensor best = picked.eq(values.amax(-1)).contiguous();
  const at::Tensor rows = best.nonzero().squeeze(1);
  if (rows.numel() == 0) return best;
  const at::Tensor first = values.index_select(0, rows).argmax(-1);
  return best.index_copy_(0, rows, first.eq(chosen.index_select(0, rows)));
}

// Calls `visit` with the log probabilities of some rows under both, until all were seen.
template <typename Visit>
void VisitRows(const OutputHead& head, const at::Tensor& reference, const at::Tensor& changed, Visit visit) {
  const int64_t step = std::max<int64_t>(1, kMaxLogits / head.vocabulary());
  for (int64_t first = 0; first < reference.size(0); first += step) {
    const int64_t rows = std::min(step, reference.size(0) - first);
    visit(at::log_softmax(head.Logits(reference.narrow(0, first, rows)), -1, at::kFloat),
          at::log_softmax(head.Logits(changed.narrow(0, first, rows)), -1, at::kFloat));
  }
}

// KL(p || q) of each row.
void AppendDivergences(const at::Tensor& p, const at::Tensor& q, std::vector<double>& rows) {
  const at::Tensor sums = (p.exp() * (p - q)).sum(1).contiguous();
  const float* const values = sums.const_data_ptr<float>();
  rows.insert(rows.end(), values, values + sums.numel());
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
    step = std::min(static_cast<int64_t>(rows.size()) - first,
                    std::max<int64_t>(1, kMaxLogits / head.vocabulary()));
    const at::Tensor chosen = all_tokens.narrow(0, first, step);
    const at::Tensor logits = head.Logits(hidden.index_select(0, all_rows.narrow(0, first, step)));
    const at::Tensor log_probabilities = at::log_softmax(logits, -1, at::kFloat);
    const at::Tensor picked = log_probabilities.gather(1, chosen.unsqueeze(1)).squeeze(1).contiguous();
    const at::Tensor best = IsFirstOfLargest(log_probabilities, picked, chosen);
    for (int64_t i = 0; i < step; ++i) {
      scores.push_back(
          {static_cast<double>(picked.const_data_ptr<float>()[i]), best.const_data_ptr<bool>()[i]});
    }
  }
  return scores;
}

std::vector<double> RowDivergences(const OutputHead& head, const at::Tensor& reference,
                                   const at::Tensor& changed) {
  std::vector<double> rows;
  VisitRows(head, reference, changed,
            [&](const at::Tensor& p, const at::Tensor& q) { AppendDivergences(p, q, rows); });
  return rows;
}

Divergences CompareRows(const OutputHead& head, const at::Tensor& reference, const at::Tensor& changed) {
  Divergences divergences;
  VisitRows(head, reference, changed, [&](const at::Tensor& p, const at::Tensor& q) {
    AppendDivergences(p, q, divergences.rows);
    divergences.top1_flips += p.argmax(1).ne(q.argmax(1)).sum().item<int64_t>();
  });
  return divergences;
}

}  // namespace quantmoe
