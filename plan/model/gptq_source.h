// A checkpoint that is quantized in GPTQ form already, as an input of evaluation: what its
// quantization_config says of each linear, and whether the tensors agree. GPTQ: docs/formats.md, section 2;
// activation order keeps the rows of the codes where they were and says in `g_idx` to which group each
// belongs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/model/linears.h"
#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"
#include "storage/declared_widths.h"

namespace quantmoe {

struct GptqSource {
  DeclaredWidths widths;
  bool activation_order = false;  // `desc_act`: every linear has a g_idx
  bool zeros_less_one = true;     // of the stored zero points: version 1 of the format
  std::string config_json;        // config.json without quantization_config
};

// Nothing when config.json has no quantization_config of the method gptq, or cannot be read at all.
// INVALID_ARGUMENT MODEL_INVALID or MODEL_UNSUPPORTED names the field: another form of the format, packing or
// width, and what would change the arithmetic (a quantized head, rotations, adapters).
absl::StatusOr<std::optional<GptqSource>> ReadGptqSource(absl::string_view config_json);

// How a linear is stored. Without a value when it is not quantized.
struct GptqForm {
  int width = 0;
  int64_t group_size = 0;  // the last group may be shorter
  int64_t groups = 0;
  bool symmetric = true;  // all zero points are 2^(width - 1)
};
// DATA_LOSS as of DeclaredWidths::Of.
absl::StatusOr<std::optional<GptqForm>> FormOf(const GptqSource& source, const Checkpoint& checkpoint,
                                               const Linear& linear);

// Everything that keeps such a checkpoint from being computed with, as far as headers tell. INVALID_ARGUMENT
// names file and tensor.
std::vector<absl::Status> FindGptqProblems(const GptqSource& source, const ModelSpec& spec,
                                           const Checkpoint& checkpoint);

}  // namespace quantmoe
