// How the quantized weights of a finished artifact or export are stored, as records in one table: who writes
// them (quant/artifact/export_format.h) and who checks them (client/verify) go by the same record. A format
// is found by its name once, where a name enters; behind that, code holds the record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/declared_widths.h"
#include "storage/safetensors.h"

namespace quantmoe {

// What a tensor of a quantized linear holds.
enum class TensorContent { kCodes, kZeroPoints, kScales, kGroupOfInput, kShape };

// A linear before it is stored: `in` is a multiple of `group_size` and of 32, `out` of 32.
struct QuantizedShape {
  std::string module;
  int64_t out = 0, in = 0;
  int width = 0;
  int64_t group_size = 0;
};

struct FormatTensor {
  TensorContent content = TensorContent::kCodes;
  absl::string_view suffix;  // behind the module's name
  DType dtype = DType::kI32;
  std::vector<int64_t> (&shape)(const QuantizedShape& linear);
};

struct WeightFormat {
  absl::string_view name;  // and `quant_method` of config.json
  // Of every linear, in the order of a file. The members that are references must be there, or the record
  // does not compile.
  std::span<const FormatTensor> tensors;
  // Reads `quantization_config`; errors as DeclaredWidths has them.
  absl::StatusOr<DeclaredWidths> (&declared_widths)(const nlohmann::ordered_json& config);
  // The file that repeats `quantization_config`; empty: there is none.
  absl::string_view config_copy = "";
  // Can hold groups whose zero point is not in the middle; false: scales keep their signs.
  bool zero_points = false;
};

// Tables with a record for every format have this size, so that one that lacks a record does not compile.
inline constexpr size_t kNumWeightFormats = 2;
const WeightFormat& GptqFormat();
const WeightFormat& CompressedTensorsFormat();
// Null when there is no format of that name.
const WeightFormat* FindWeightFormat(absl::string_view name);
// All names, with `between` between them.
std::string WeightFormatNames(absl::string_view between);

// The tensors of one linear; `begin` and `end` are not filled in.
std::vector<TensorInfo> TensorsOf(const WeightFormat& format, const QuantizedShape& linear);

}  // namespace quantmoe
