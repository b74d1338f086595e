// Which tokens calibrate an expert, and with which weight.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "quant/model/router.h"

namespace quantmoe {

struct ExpertCalibration {
  // An error of an expert reaches the stream times its router weight: rows count with its square.
  bool gate_weighted = false;
  // Pulls the Hessian of a rarely chosen expert toward that of all tokens of its layer: a sample of them is
  // added with the mass of `shrinkage` * width tokens. 0: off.
  double shrinkage = 0;
};

// The rows of every shard that calibrate one expert.
class ExpertRows {
 public:
  // `dispatches` of all shards must outlive the object; `width` is the input width of the expert.
  ExpertRows(const std::vector<Dispatch>& dispatches, int64_t expert, int64_t width,
             const ExpertCalibration& calibration);

  // Rows of the shard's activations, i64: those that were routed to the expert, then the sample.
  at::Tensor Tokens(size_t shard, int64_t shard_tokens) const;
  // What each of them is multiplied with, [rows, 1]; undefined when nothing changes.
  at::Tensor Scales(size_t shard, int64_t shard_tokens) const;

  int64_t routed() const { return routed_; }
  bool shrunk() const { return prior_ > 0; }

 private:
  int64_t SampleSize(int64_t shard_tokens) const;

  const std::vector<Dispatch>& dispatches_;
  const int64_t expert_;
  const bool gate_weighted_;
  int64_t routed_ = 0;
  double prior_ = 0;      // mass of the sample, in tokens
  double mean_gate_ = 1;  // root mean square of the router weights
};

// rows * scales, or the rows themselves when `scales` is undefined.
at::Tensor Scaled(const at::Tensor& rows, const at::Tensor& scales);

}  // namespace quantmoe
