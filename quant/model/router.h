// Which experts a token goes to, and with which weight.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/model_spec.h"
#include "quant/model/weights.h"

namespace quantmoe {

struct Routing {
  at::Tensor experts;  // [tokens, top_k] i64, ascending in each row
  at::Tensor weights;  // [tokens, top_k] f32: factor on each expert's output, or input (MoeSpec::scale_input)
};

class Router {
 public:
  // The router of a layer with experts. `spec` must outlive the object. Errors of `source`.
  static absl::StatusOr<Router> Load(const ModelSpec& spec, int layer, WeightSource& source);
  // x [tokens, hidden], the input of the experts.
  Routing Route(const at::Tensor& x) const;

 private:
  // As Route, in any order within a row.
  Routing Choose(const at::Tensor& x) const;

  const MoeSpec* moe_ = nullptr;
  LinearLayer router_;          // [experts, hidden]
  at::Tensor correction_bias_;  // [experts] f32, or undefined
};

// The tokens of each expert: a stable sort of all (token, slot) pairs by expert.
struct Dispatch {
  // `experts`: how many the layer has.
  explicit Dispatch(const Routing& routing, int64_t experts);

  int64_t count(int64_t expert) const {
    return offsets[static_cast<size_t>(expert) + 1] - offsets[static_cast<size_t>(expert)];
  }
  // Rows of the activation that go to `expert`, ascending: [count] i64.
  at::Tensor Tokens(int64_t expert) const;
  // Their weights, [count, 1] f32.
  at::Tensor Weights(int64_t expert) const;

  at::Tensor tokens;             // [pairs] i64, sorted by expert
  at::Tensor weights;            // [pairs] f32
  std::vector<int64_t> offsets;  // of each expert among the pairs, and the number of pairs
};

}  // namespace quantmoe
