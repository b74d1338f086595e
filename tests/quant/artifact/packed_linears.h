// Quantized linears by the definitions of docs/formats.md and of the safetensors format, bit by bit and
// without the code under test: what writers and readers of artifacts are held against.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"
#include "plan/model/linears.h"
#include "storage/blob_store.h"

namespace quantmoe {

// A tensor as a file holds it.
struct RawTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;

  template <typename T>
  T At(int64_t index) const {
    T value;
    std::memcpy(&value, bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
};
using RawTensors = std::map<std::string, RawTensor>;

// A whole file: u64 length of the header, header, data without gaps.
inline std::string SafetensorsBytes(const RawTensors& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + text + data;
}

inline RawTensors ReadSafetensors(absl::string_view file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const auto header = nlohmann::json::parse(file.substr(8, length));
  RawTensors tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensors[name] = {entry["dtype"], entry["shape"],
                     std::string(file.substr(8 + length + begin, end - begin))};
  }
  return tensors;
}

inline double HalfValue(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                           : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                            : std::ldexp(1024 + fraction, exponent - 25);
  return half >> 15 == 0 ? magnitude : -magnitude;
}

// Number `index` of a stream of numbers of `bits` bits in 32-bit words, least significant bit first; the
// words of one stream are `stride` apart.
inline int StreamValue(const RawTensor& words, int64_t first, int64_t stride, int64_t index, int bits) {
  int value = 0;
  for (int b = 0; b < bits; ++b) {
    const int64_t bit = index * bits + b;
    const uint32_t word = words.At<uint32_t>(first + bit / 32 * stride);
    value |= static_cast<int>(word >> (bit % 32) & 1) << b;
  }
  return value;
}

// A linear with random codes and scales.
struct RandomLinear {
  Linear linear;
  int bits = 0;
  int64_t group_size = 0;
  std::vector<int> codes;        // [in, out]
  std::vector<uint16_t> scales;  // [in / group_size, out]: bits of f16

  RandomLinear(Linear of, int width, int64_t group, bool signed_scales, std::mt19937& random)
      : linear(std::move(of)), bits(width), group_size(group) {
    codes.resize(static_cast<size_t>(linear.in * linear.out));
    for (int& code : codes) code = static_cast<int>(random() % (1u << bits));
    scales.resize(static_cast<size_t>(linear.in / group * linear.out));
    for (uint16_t& scale : scales) {
      scale = static_cast<uint16_t>(0x2000 + random() % 0x800);  // 2^-7 to 2^-5
      if (signed_scales && random() % 3 == 0) scale |= 0x8000;
    }
  }

  double Weight(int64_t out, int64_t in) const {
    const double scale = HalfValue(scales[static_cast<size_t>(in / group_size * linear.out + out)]);
    return scale * (codes[static_cast<size_t>(in * linear.out + out)] - (1 << (bits - 1)));
  }

  // What a solve task writes: words along the input channels, and scales.
  void AddTo(RawTensors& tensors) const {
    std::vector<uint32_t> words(static_cast<size_t>(linear.in * bits / 32 * linear.out));
    for (int64_t i = 0; i < linear.in; ++i) {
      for (int64_t o = 0; o < linear.out; ++o) {
        for (int b = 0; b < bits; ++b) {
          const int64_t bit = i * bits + b;
          const uint32_t value = codes[static_cast<size_t>(i * linear.out + o)] >> b & 1;
          words[static_cast<size_t>(bit / 32 * linear.out + o)] |= value << (bit % 32);
        }
      }
    }
    const auto bytes = [](const auto& values) {
      return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
    };
    tensors[linear.name + ".qweight"] = {"I32", {linear.in * bits / 32, linear.out}, bytes(words)};
    tensors[linear.name + ".scales"] = {"F16", {linear.in / group_size, linear.out}, bytes(scales)};
  }
};

// A weight of a GPTQ v1 file. `bits` is the width in the file.
inline double GptqWeight(const RawTensors& file, const std::string& name, int64_t out, int64_t in, int bits) {
  const RawTensor &qweight = file.at(name + ".qweight"), &scales = file.at(name + ".scales");
  const int64_t outs = qweight.shape[1];
  const int64_t group = file.at(name + ".g_idx").At<int32_t>(in);
  // Zero points are packed along the outputs of their group, less one.
  const int64_t words = file.at(name + ".qzeros").shape[1];
  const int zero = StreamValue(file.at(name + ".qzeros"), group * words, 1, out, bits) + 1;
  const int code = StreamValue(qweight, out, outs, in, bits);
  return HalfValue(scales.At<uint16_t>(group * outs + out)) * (code - zero);
}

// A plan whose linears take the widths in turn, with the linears themselves; every third has scales of either
// sign. Blobs are left to the caller.
inline std::vector<RandomLinear> RandomPlan(const ModelSpec& spec, const std::vector<int>& widths,
                                            int64_t group_size, BitPlan& plan) {
  std::mt19937 random(11);
  std::vector<RandomLinear> linears;
  plan.heuristic = "uniform";
  plan.profile = "any";
  plan.group_size = static_cast<int>(group_size);
  for (const Linear& linear : ListLinears(spec)) {
    const size_t i = linears.size();
    const bool is_signed = i % 3 == 0;
    linears.emplace_back(linear, widths[i % widths.size()], group_size, is_signed, random);
    plan.linears.push_back({linear, linears[i].bits, {}, 0, "gptq", "", !is_signed});
  }
  return linears;
}

// Stores all linears in one blob, which the plan then names.
inline absl::Status StoreLinears(const std::vector<RandomLinear>& linears, BlobStore& blobs, BitPlan& plan) {
  RawTensors tensors;
  for (const RandomLinear& linear : linears) linear.AddTo(tensors);
  const absl::StatusOr<Digest> digest = blobs.Put(SafetensorsBytes(tensors));
  if (!digest.ok()) return digest.status();
  for (PlannedLinear& planned : plan.linears) planned.blob = *digest;
  return absl::OkStatus();
}

}  // namespace quantmoe
