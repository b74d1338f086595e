#include "quant/ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

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
    if (wavelength <= spec.original_max_position / spec.high_freq_factor) continue;
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

// One vector of a head. The pairs are (i, i + dims / 2), or neighbours where they are interleaved.
void Rotate(const RopeSpec& spec, const float* __restrict x, const float* __restrict cos,
            const float* __restrict sin, float* __restrict rotated) {
  const int64_t half = spec.dims / 2, step = spec.interleaved ? 2 : 1, second = spec.interleaved ? 1 : half;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i * step], b = x[i * step + second];
    rotated[i] = a * cos[i] - b * sin[i];
    rotated[i + half] = b * cos[i + half] + a * sin[i + half];
  }
}

}  // namespace

RopeTable MakeRopeTable(const RopeSpec& spec, int64_t length, at::ScalarType dtype) {
  const at::Tensor frequencies = at::tensor(Frequencies(spec, length), at::kDouble).to(at::kFloat);
  const at::Tensor angles = at::outer(at::arange(length, at::kFloat), frequencies);
  const at::Tensor both = at::cat({angles, angles}, -1);
  const double factor = IsLong(spec, length) ? spec.long_attention_factor : spec.attention_factor;
  const auto rounded = [dtype](const at::Tensor& x) { return x.to(dtype).to(at::kFloat); };
  return {rounded(both.cos() * factor), rounded(both.sin() * factor)};
}

at::Tensor ApplyRope(const RopeSpec& spec, const RopeTable& table, const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kFloat), rotated = at::empty(x.sizes(), at::kFloat);
  const int64_t heads = x.size(1), length = x.size(2), width = x.size(3);
  const float *cos = table.cos.const_data_ptr<float>(), *sin = table.sin.const_data_ptr<float>();
  at::parallel_for(0, x.size(0) * heads, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from =
          wide.const_data_ptr<float>() + i / heads * wide.stride(0) + i % heads * wide.stride(1);
      float* to = rotated.data_ptr<float>() + i * length * width;
      for (int64_t t = 0; t < length; ++t, from += wide.stride(2), to += width) {
        Rotate(spec, from, cos + t * spec.dims, sin + t * spec.dims, to);
        std::copy(from + spec.dims, from + width, to + spec.dims);
      }
    }
  });
  return rotated.to(x.scalar_type());
}

}  // namespace quantmoe
