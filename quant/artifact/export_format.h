// Writing and reading the weights of each format (storage/weight_format.h): the part of its record that knows
// tensors.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/runtime_profile.h"
#include "quant/artifact/published_artifact.h"
#include "quant/gptq/packing.h"
#include "storage/weight_format.h"

namespace quantmoe {

// The tensors of one linear that are computed from its weights, as GPTQ has them; compressed-tensors has the
// transposes.
struct StoredWeights {
  at::Tensor codes;        // [in*width/32, out] i32
  at::Tensor zero_points;  // [in/group_size, out*width/32] i32; undefined where the format has none
  at::Tensor scales;       // [in/group_size, out] f16
};

// The references must be there, or the record does not compile.
struct ExportFormat {
  const WeightFormat& stored;
  // The tensor of `content`, which is one of StoredWeights that the format has, in its shape and dtype.
  at::Tensor (&pack)(const SignedLinear& solved, int width, TensorContent content);
  // The inverse of all of them, as far as it matters: weights [out, in] f32.
  at::Tensor (&unpack)(const StoredWeights& stored, int width, int group_size);
  // The `quantization_config` of `plan`, which is for `profile`: `kept` are the tensors that are not
  // quantized, `version` is that of the program.
  nlohmann::ordered_json (&config)(const PublishedArtifact& artifact, const BitPlan& plan,
                                   const RuntimeProfile& profile, const std::vector<TensorInfo>& kept,
                                   const std::string& version);
  // What loaders of such an export compute that take it without a complaint and are wrong.
  std::vector<std::string> (&warnings)(const BitPlan& plan, const RuntimeProfile& profile);
  // Modules have the names that the profile's loader looks for; false: the published ones.
  bool loaders_names = false;
};

// Null when there is no format of that name.
const ExportFormat* FindExportFormat(absl::string_view name);

}  // namespace quantmoe
