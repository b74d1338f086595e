// What solving found out: one row per linear, with the distortion of every candidate width. Written by solve
// tasks, read by allocation; the JSON form is the saved table of `quantmoe-local allocate`.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/allocate/stream_statistics.h"
#include "plan/model/linears.h"
#include "storage/digest.h"

namespace quantmoe {

struct WidthFacts {
  double distortion = 0;      // tr((W-Q) H (W-Q)^T), H the plain sum of x x^T
  double relative_error = 0;  // distortion / tr(W H W^T); 0 when that is 0
  // How far the output of the block (attention or feed-forward) is off when this linear alone has this width:
  // the sum over calibration tokens of |output - original output|^2 / |residual stream|^2, estimated from a
  // sample of tokens. 0 when it was not measured.
  double block_error = 0;
  // Sum over calibration tokens of gate * |(W-Q) x|^2, where `gate` is the factor on the output of the expert
  // or shared expert (MoEQuant's AGQ weighting); estimated from a sample of tokens. 0 when there is no such
  // factor.
  double gate_distortion = 0;
};

struct DistortionRow {
  Linear linear;
  int64_t tokens = 0;  // rows that went into H
  double damp = 0;     // share of the mean diagonal that was used in the end
  // "gptq", "gptq_shrunk" (Hessian of a cold expert, supported), "gptq_all_tokens" (tokens that were routed
  // elsewhere, too), "gptq_floored" (the diagonal had to be raised) or "rtn".
  std::string method;
  std::string fallback;      // empty, "no_tokens", "few_tokens" or "not_positive_definite"
  double outlier_score = 0;  // max_j(max_i |W_ij| / mean_i |W_ij|), QuantMoE-Bench's linear scorer
  std::map<int, WidthFacts> widths;
  double wanda_score = 0;  // mean of |W_ij| sqrt(H_jj), the scripts' activation-aware magnitude
  // Input channels that the linear's own tokens determine rather than the damping, at most `in`; 0 on
  // fallback.
  double effective_rank = 0;
};

// The solved width beside `width`, the next larger or the next smaller one. Empty where there is none.
std::optional<int> NextWidth(const DistortionRow& row, int width, bool larger);

struct PartTable {
  int layer = 0;
  int part = 0;
  // Nats per token that one unit of block_error of this part costs at the output of the model, as `probe`
  // measured it; 1 when it was not measured.
  double loss_scale = 1;
  // The same in each window of the probes' sample; empty when it was not measured.
  std::vector<double> window_scales = {};
  std::map<int, Digest> blobs;  // width -> safetensors with the packed tensors of all linears of the part
  std::vector<DistortionRow> rows;

  // Parts that a probe takes together: "attention", "mlp" (dense or shared) or "experts".
  std::string ProbeGroup() const;
};

std::string PartTableToJson(const PartTable& table);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<PartTable> PartTableFromJson(absl::string_view json);

// What calibration tokens did in one MoE layer, over all shards.
struct RoutingCounts {
  int layer = 0;
  std::vector<int64_t> counts;  // [experts], how often each was chosen
  // [experts], sum over tokens of the router's weight; 0 where an expert was not chosen. Empty in old tables.
  std::vector<double> router_weights;
  int64_t tokens = 0;  // 0 in old tables, which have none of the following
  // Sums over tokens of cos(input, output) of the feed-forward block and of the whole layer's residual
  // stream.
  double ffn_cosine = 0;
  double stream_cosine = 0;
  // Mean cosine of the feed-forward block as a trained network predicts it; unset unless one was trained.
  std::optional<double> predicted_cosine = {};
};

std::string RoutingCountsToJson(const RoutingCounts& routing);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<RoutingCounts> RoutingCountsFromJson(absl::string_view json);

// Everything allocation needs, in one document: {"parts": [...], "routing": [...]}.
struct DistortionTable {
  std::vector<PartTable> parts;                // sorted by (layer, part)
  std::vector<RoutingCounts> routing;          // MoE layers, sorted
  std::vector<StreamStatistics> streams = {};  // all layers, sorted; empty in old tables
};
std::string DistortionTableToJson(const DistortionTable& table);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<DistortionTable> DistortionTableFromJson(absl::string_view json);

}  // namespace quantmoe
