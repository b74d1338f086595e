// Sums of outer products of calibration inputs. GPTQ needs them only up to scale, so they are plain sums:
// shards add up in any process, as long as the order of additions is fixed.
#pragma once

#include <cstdint>
#include <utility>

#include <ATen/core/Tensor.h>

namespace quantmoe {

// Accumulates H = sum over tokens of x x^T, f32. One object per distinct input (q, k and v of a layer share
// one, gate and up of an expert share one). The result depends on the order of Add calls and on nothing else.
class Hessian {
 public:
  explicit Hessian(int64_t in, c10::Device device = c10::Device(c10::kCPU));
  // A sum that is known already: `whole` [in, in] f32, symmetric, over `tokens` tokens. Not for Add.
  Hessian(at::Tensor whole, int64_t tokens) : sum_(std::move(whole)), tokens_(tokens), whole_(true) {}

  // Adds the rows of `x` [rows, in], f32, on the same device. Only tiles on and below the diagonal are
  // computed.
  void Add(const at::Tensor& x);

  // The full symmetric matrix [in, in] f32, on the device. The object must not be used afterwards.
  at::Tensor Take();

  int64_t tokens() const { return tokens_; }

 private:
  at::Tensor sum_;
  int64_t tokens_ = 0;
  bool whole_ = false;  // above the diagonal, too
};

}  // namespace quantmoe
