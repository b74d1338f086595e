// Which tokens calibrate an expert, and with which weight.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>

#include "quant/model/router.h"

namespace quantmoe {

struct ExpertCalibration {
  // An error of an expert reaches the stream times its router weight: rows count with its square.
  bool gate_weighted = false;
  // Pulls the Hessian of an expert whose own tokens say too little toward that of all tokens of its layer: a
  // sample of them is added with the mass of `shrinkage` * width tokens. 0: off.
  double shrinkage = 0;
  // Experts that all tokens of their layer calibrate, with equal weight.
  std::set<int64_t> all_tokens;
};

// The rows of every shard that calibrate one expert, and those that support it.
class ExpertRows {
 public:
  // `dispatches` of all shards must outlive the object; `width` is the input width of the expert. With
  // `scaled_inputs` the router's weights are factors on the inputs of experts (MoeSpec::scale_input).
  ExpertRows(const std::vector<Dispatch>& dispatches, int64_t expert, int64_t width,
             const ExpertCalibration& calibration, bool scaled_inputs = false);

  // Rows of the shard's activations, [rows] i64: those that were routed to the expert, or all.
  at::Tensor Tokens(size_t shard, int64_t shard_tokens) const;
  // What the router multiplies each of them with before the expert sees it, [rows, 1] f32; undefined when
  // nothing changes. Tokens of other experts count with the root mean square of the expert's own.
  at::Tensor InputScales(size_t shard, int64_t shard_tokens) const;
  // What each row of a linear's input is multiplied with, [rows, 1] f32; undefined when nothing changes.
  at::Tensor Scales(size_t shard) const;
  // The sample of all tokens that may support the expert, [sampled] i64; empty when it has plenty of its own.
  at::Tensor Sample(int64_t shard_tokens) const;
  // What the router would multiply the sample with, [1, 1] f32; undefined when nothing changes.
  at::Tensor SampleScale() const;
  // What the Hessian of `sampled` rows is multiplied with before it is added to the expert's own.
  double SupportWeight(int64_t sampled) const;

  int64_t routed() const { return routed_; }
  bool all_tokens() const { return all_tokens_; }

 private:
  const std::vector<Dispatch>& dispatches_;
  const int64_t expert_;
  const bool all_tokens_, scaled_inputs_, gate_weighted_;
  int64_t routed_ = 0;
  double prior_ = 0;             // mass of the sample, in tokens
  double mean_square_gate_ = 1;  // of the router weights
};

// `rows` [rows, width] times `scales` [rows, 1] or [1, 1], or the rows themselves when `scales` is undefined.
at::Tensor Scaled(const at::Tensor& rows, const at::Tensor& scales);

}  // namespace quantmoe
