#include "plan/source_quantization.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxBlock = 1 << 16;

void RequireText(ConfigReader& config, absl::string_view key, absl::string_view only) {
  const std::string text = config.TextOr(key, only);
  if (text == only) return;
  config.Unsupported(key, absl::StrCat("is \"", text.substr(0, 40), "\"; only ", only, " is supported"));
}

void ReadFp8(ConfigReader& config, StorageSpec& storage) {
  constexpr absl::string_view kBlock = "quantization_config.weight_block_size";
  RequireText(config, "quantization_config.fmt", "e4m3");
  RequireText(config, "quantization_config.activation_scheme", "dynamic");
  const std::vector<int64_t> block = config.Ints(kBlock);
  if (block.empty())
    return config.Unsupported(kBlock, "is missing; FP8 is read with a factor per block only");
  if (block.size() != 2 || block[0] < 1 || block[1] < 1 || block[0] > kMaxBlock || block[1] > kMaxBlock) {
    return config.Invalid(kBlock, "is not a pair of block sizes");
  }
  storage.fp8_block_rows = block[0];
  storage.fp8_block_columns = block[1];
}

}  // namespace

void ReadSourceQuantization(ConfigReader& config, StorageSpec& storage) {
  constexpr absl::string_view kObject = "quantization_config";
  if (!config.Has(kObject)) return;
  if (!config.At(kObject).is_object()) return config.Invalid(kObject, "must be an object");
  const std::string method = config.TextOr("quantization_config.quant_method", "");
  if (method == "fp8") return ReadFp8(config, storage);
  if (method == "mxfp4") return;
  config.Unsupported(kObject, absl::StrCat("has the quant_method \"", method.substr(0, 40),
                                           "\"; a source may be unquantized, fp8 with blocks, or mxfp4"));
}

}  // namespace quantmoe
