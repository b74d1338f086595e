#include "plan/model/source_quantization.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxBlock = 1 << 16;
constexpr int64_t kDefaultBlock = 128;

void RequireOneOf(ConfigReader& config, absl::string_view key, const std::vector<std::string>& known) {
  const std::string text = config.TextOr(key, known.front());
  if (std::find(known.begin(), known.end(), text) != known.end()) return;
  config.Unsupported(
      key, absl::StrCat("is \"", text.substr(0, 40), "\"; supported is only ", absl::StrJoin(known, " or ")));
}

// The class of the reference has blocks of 128 where the key is absent, and a factor for a whole weight where
// it is null.
void ReadBlocks(ConfigReader& config, StorageSpec& storage) {
  constexpr absl::string_view kBlock = "quantization_config.weight_block_size";
  storage.fp8_block_rows = storage.fp8_block_columns = kDefaultBlock;
  if (!config.At("quantization_config").contains("weight_block_size")) return;
  storage.fp8_block_rows = storage.fp8_block_columns = 0;
  if (!config.Has(kBlock)) return;
  const std::vector<int64_t> block = config.Ints(kBlock);
  if (block.size() != 2 || block[0] < 1 || block[1] < 1 || block[0] > kMaxBlock || block[1] > kMaxBlock) {
    return config.Invalid(kBlock, "is not a pair of block sizes");
  }
  storage.fp8_block_rows = block[0];
  storage.fp8_block_columns = block[1];
}

void ReadFp8(ConfigReader& config, StorageSpec& storage) {
  storage.fp8 = true;
  RequireOneOf(config, "quantization_config.fmt", {"e4m3", "float8_e4m3fn"});
  // What the reference does to activations is no part of the weights.
  RequireOneOf(config, "quantization_config.activation_scheme", {"dynamic", "static"});
  RequireOneOf(config, "quantization_config.scale_fmt", {"float", "ue8m0"});
  RequireOneOf(config, "quantization_config.expert_dtype", {"fp8"});
  ReadBlocks(config, storage);
}

}  // namespace

void ReadSourceQuantization(ConfigReader& config, StorageSpec& storage) {
  constexpr absl::string_view kObject = "quantization_config", kMethod = "quantization_config.quant_method";
  if (!config.Has(kObject)) return;
  if (!config.At(kObject).is_object()) return config.Invalid(kObject, "must be an object");
  if (!config.Has(kMethod)) return config.Invalid(kMethod, "is missing");
  const std::string method = config.TextOr(kMethod, "");
  if (method == "fp8") return ReadFp8(config, storage);
  if (method == "mxfp4") return;
  config.Unsupported(kObject, absl::StrCat("has the quant_method \"", method.substr(0, 40),
                                           "\"; a source may be unquantized, fp8, or mxfp4"));
}

}  // namespace quantmoe
