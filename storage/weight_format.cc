#include "storage/weight_format.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

using Dimensions = std::vector<int64_t>;

// GPTQ v1: words run along the inputs, rows are inputs.
Dimensions CodesByInput(const QuantizedShape& l) { return {l.in * l.width / 32, l.out}; }
Dimensions ZeroPoints(const QuantizedShape& l) { return {l.in / l.group_size, l.out * l.width / 32}; }
Dimensions ScalesByInput(const QuantizedShape& l) { return {l.in / l.group_size, l.out}; }
Dimensions GroupOfInput(const QuantizedShape& l) { return {l.in}; }
// compressed-tensors, `pack-quantized`: the transposes.
Dimensions CodesByOutput(const QuantizedShape& l) { return {l.out, l.in * l.width / 32}; }
Dimensions ScalesByOutput(const QuantizedShape& l) { return {l.out, l.in / l.group_size}; }
Dimensions ShapeItself(const QuantizedShape&) { return {2}; }

constexpr FormatTensor kGptqTensors[] = {{TensorContent::kCodes, ".qweight", DType::kI32, CodesByInput},
                                         {TensorContent::kZeroPoints, ".qzeros", DType::kI32, ZeroPoints},
                                         {TensorContent::kScales, ".scales", DType::kF16, ScalesByInput},
                                         {TensorContent::kGroupOfInput, ".g_idx", DType::kI32, GroupOfInput}};

constexpr FormatTensor kCompressedTensors[] = {
    {TensorContent::kCodes, ".weight_packed", DType::kI32, CodesByOutput},
    {TensorContent::kScales, ".weight_scale", DType::kF16, ScalesByOutput},
    {TensorContent::kShape, ".weight_shape", DType::kI64, ShapeItself}};

constexpr std::array<WeightFormat, kNumWeightFormats> kFormats = {{
    {.name = "gptq",
     .tensors = kGptqTensors,
     .declared_widths = DeclaredWidths::FromGptq,
     .config_copy = "quantize_config.json",
     .zero_points = true},
    {.name = "compressed-tensors",
     .tensors = kCompressedTensors,
     .declared_widths = DeclaredWidths::FromCompressedTensors},
}};

}  // namespace

const WeightFormat& GptqFormat() { return kFormats[0]; }
const WeightFormat& CompressedTensorsFormat() { return kFormats[1]; }

const WeightFormat* FindWeightFormat(absl::string_view name) {
  for (const WeightFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

std::string WeightFormatNames(absl::string_view between) {
  const auto add = [](std::string* out, const WeightFormat& format) { absl::StrAppend(out, format.name); };
  return absl::StrJoin(kFormats, between, add);
}

std::vector<TensorInfo> TensorsOf(const WeightFormat& format, const QuantizedShape& linear) {
  std::vector<TensorInfo> tensors;
  for (const FormatTensor& tensor : format.tensors)
    tensors.push_back({absl::StrCat(linear.module, tensor.suffix), tensor.dtype, tensor.shape(linear)});
  return tensors;
}

}  // namespace quantmoe
