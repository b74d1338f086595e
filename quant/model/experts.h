// Gated MLPs: experts, shared experts and the dense layers of mixed models.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/linears.h"
#include "quant/model/router.h"
#include "quant/model/weights.h"

namespace quantmoe {

// down(silu(gate(x)) * up(x)), or in the experts of GPT-OSS down(g * sigmoid(1.702 g) * (u + 1)) with g =
// min(gate(x), limit) and u = clamp(up(x), -limit, limit).
class GatedMlp {
 public:
  // gate and up [width, hidden] and down [hidden, width] of one expert, of the shared expert, or of a dense
  // layer. Errors of `source`.
  static absl::StatusOr<GatedMlp> Load(const ModelSpec& spec, const Linear& gate, const Linear& up,
                                       const Linear& down, WeightSource& source);

  // Outputs [tokens, width] of the two linears that see x [tokens, hidden].
  at::Tensor Gate(const at::Tensor& x) const { return Apply(gate_, x); }
  at::Tensor Up(const at::Tensor& x) const { return Apply(up_, x); }
  // What the down projection sees, [tokens, width] as both arguments; overwrites `gate`.
  at::Tensor Activate(at::Tensor gate, const at::Tensor& up) const;
  // x [tokens, hidden] -> [tokens, width], that -> [tokens, hidden], and both in one.
  at::Tensor Inner(const at::Tensor& x) const { return Activate(Gate(x), Up(x)); }
  at::Tensor Down(const at::Tensor& inner) const { return Apply(down_, inner); }
  at::Tensor Forward(const at::Tensor& x) const { return Down(Inner(x)); }
  // How the output [tokens, hidden] moves when the input of the down projection moves by `change` [tokens,
  // width].
  at::Tensor DownChange(const at::Tensor& change) const;
  // [out, in] of gate (0), up (1) or down (2).
  const at::Tensor& Weight(size_t which) const {
    return (which == 0 ? gate_ : which == 1 ? up_ : down_).weight;
  }
  // The same MLP with another weight [out, in] in gate (0), up (1) or down (2).
  GatedMlp With(size_t which, const at::Tensor& weight) const;

 private:
  LinearLayer gate_, up_, down_;
  Activation activation_ = Activation::kSilu;
  double limit_ = 0;
};

// `rows` [rows, hidden] as a routed expert sees them, in the same dtype, and the factors [rows, 1] f32 on
// what it makes of them. `weights` [rows, 1] f32 are the router's.
at::Tensor ExpertInput(const MoeSpec& moe, const at::Tensor& rows, const at::Tensor& weights);
at::Tensor OutputWeights(const MoeSpec& moe, const at::Tensor& weights);

// The factor [tokens, 1] of the shared expert for each row of x [tokens, hidden]: sigmoid of its gate, or
// undefined where it is added plainly. Errors of `source`.
absl::StatusOr<at::Tensor> SharedFactor(const ModelSpec& spec, int layer, const at::Tensor& x,
                                        WeightSource& source);

// The largest |output of the down projection| over the tokens that an MLP was given, before the router's
// weight.
struct OutputPeaks {
  std::vector<double> experts;  // [experts]; 0 for one without tokens
  double mlp = 0;               // of the dense or shared MLP; 0 where there is none
};

// The feed-forward half of a layer on its normalised input x [tokens, hidden]; experts are loaded one after
// the other. `routing` is read for layers with experts only. [tokens, hidden] in the dtype of x. `peaks` may
// be null. Errors of `source`.
absl::StatusOr<at::Tensor> FeedForward(const ModelSpec& spec, int layer, const at::Tensor& x,
                                       const Routing& routing, WeightSource& source,
                                       OutputPeaks* peaks = nullptr);

}  // namespace quantmoe
