#include "quant/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

std::vector<double> PlainFrequencies(const RopeSpec& spec) {
  std::vector<double> frequencies(static_cast<size_t>(spec.dims / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(spec.theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.dims));
  }
  return frequencies;
}

// Llama 3.1: long wavelengths are slowed down by `factor`, short ones kept, those between blended.
void ScaleLlama3(const RopeSpec& spec, std::vector<double>& frequencies) {
  for (double& f : frequencies) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < spec.original_max_position / spec.high_freq_factor) continue;
    if (wavelength > spec.original_max_position / spec.low_freq_factor) {
      f /= spec.factor;
      continue;
    }
    const double s = (spec.original_max_position / wavelength - spec.low_freq_factor) /
                     (spec.high_freq_factor - spec.low_freq_factor);
    f = (1 - s) * f / spec.factor + s * f;
  }
}

// YaRN (arXiv 2309.00071, section 3.2): a ramp over the dimensions between interpolation and the plain
// frequencies.
void ScaleYarn(const RopeSpec& spec, std::vector<double>& frequencies) {
  const double d = static_cast<double>(spec.dims);
  const auto correction = [&](double rotations) {
    return d * std::log(spec.original_max_position / (2 * std::numbers::pi * rotations)) /
           (2 * std::log(spec.theta));
  };
  double low = correction(spec.beta_fast), high = correction(spec.beta_slow);
  if (spec.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / spec.factor * ramp + frequencies[i] * (1 - ramp);
  }
}

// LongRoPE (arXiv 2402.13753) has two sets of factors, for sequences up to the original length and beyond.
bool IsLong(const RopeSpec& spec, int64_t length) {
  return spec.scaling == RopeScaling::kLongRope && static_cast<double>(length) > spec.original_max_position;
}

std::vector<double> Frequencies(const RopeSpec& spec, int64_t length) {
  std::vector<double> frequencies = PlainFrequencies(spec);
  switch (spec.scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (double& f : frequencies) f /= spec.factor;
      break;
    case RopeScaling::kLlama3:
      ScaleLlama3(spec, frequencies);
      break;
    case RopeScaling::kYarn:
      ScaleYarn(spec, frequencies);
      break;
    case RopeScaling::kLongRope: {
      const auto& divisors = IsLong(spec, length) ? spec.long_factor : spec.short_factor;
      for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= divisors.at(i);
      break;
    }
  }
  return frequencies;
}

at::Tensor RotateHalf(const at::Tensor& x) {
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return at::cat({-halves[1], halves[0]}, -1);
}

}  // namespace

RopeTable MakeRopeTable(const RopeSpec& spec, int64_t length, at::ScalarType dtype) {
  const at::Tensor frequencies = at::tensor(Frequencies(spec, length), at::kDouble).to(at::kFloat);
  const at::Tensor angles = at::outer(at::arange(length, at::kFloat), frequencies);
  const at::Tensor both = at::cat({angles, angles}, -1);
  const double factor = IsLong(spec, length) ? spec.long_attention_factor : spec.attention_factor;
  return {(both.cos() * factor).to(dtype), (both.sin() * factor).to(dtype)};
}

at::Tensor ApplyRope(const RopeSpec& spec, const RopeTable& table, const at::Tensor& x) {
  at::Tensor rotary = x.narrow(-1, 0, spec.dims);
  if (spec.interleaved) rotary = rotary.unflatten(-1, {spec.dims / 2, 2}).transpose(-1, -2).flatten(-2);
  at::Tensor rotated = rotary * table.cos + RotateHalf(rotary) * table.sin;
  if (spec.dims == x.size(-1)) return rotated;
  return at::cat({rotated, x.narrow(-1, spec.dims, x.size(-1) - spec.dims)}, -1);
}

}  // namespace quantmoe
