#include "tests/quant/gptq/synthetic_layer.h"

#include <ATen/ATen.h>

#include "quant/gptq/hessian.h"

namespace quantmoe {

Layer MakeLayer(int64_t out, int64_t in, int64_t tokens, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto normal = [&](at::IntArrayRef shape) { return at::randn(shape, generator); };
  const at::Tensor mix = normal({in, in}) * 0.1 + at::eye(in);
  Layer layer{normal({out, in}) * 0.05, at::mm(normal({tokens, in}), mix) * at::exp(normal({in}) * 0.8), {}};
  Hessian sum(in);
  sum.Add(layer.inputs);
  layer.hessian = sum.Take();
  return layer;
}

double OutputError(const Layer& layer, const at::Tensor& quantized) {
  return at::mm(layer.inputs, (layer.weight - quantized).t()).pow(2).sum(at::kDouble).item<double>();
}

}  // namespace quantmoe
