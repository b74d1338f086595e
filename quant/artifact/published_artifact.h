// A finished GPTQ artifact, opened to make something else of it: every file is checked against the manifest
// and every quantized linear against the plan before anything is read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"
#include "quant/gptq/packing.h"
#include "sources/checkpoint.h"
#include "sources/model_directory.h"

namespace quantmoe {

// Thread-compatible.
class PublishedArtifact {
 public:
  // INVALID_ARGUMENT ARTIFACT_INVALID names the file, and the tensor where it is one: no manifest, a version
  // that is not known, a file that is missing or differs from its digest, another format than GPTQ v1,
  // linears that are not those of the plan.
  static absl::StatusOr<PublishedArtifact> Open(std::shared_ptr<ModelDirectory> directory);

  // As it was solved. INVALID_ARGUMENT ARTIFACT_INVALID for zero points and groups that the plan does not
  // have, and for scales that are zero or not finite; errors of Checkpoint::Read.
  absl::StatusOr<SignedLinear> Linear(const PlannedLinear& planned) const;

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelSpec& spec() const { return spec_; }
  const BitPlan& plan() const { return plan_; }
  // config.json without its quantization_config.
  const std::string& config_json() const { return config_json_; }
  const nlohmann::ordered_json& manifest() const { return manifest_; }
  const nlohmann::ordered_json& plan_json() const { return plan_json_; }
  const std::string& manifest_sha256() const { return manifest_sha256_; }
  // Tensors that belong to no quantized weight, biases included; offsets are not filled in.
  std::vector<TensorInfo> Kept() const;

 private:
  PublishedArtifact() = default;
  absl::Status ReadManifest();
  absl::Status ReadConfig();
  absl::Status ReadPlan();

  std::shared_ptr<ModelDirectory> directory_;
  std::shared_ptr<Checkpoint> checkpoint_;
  ModelSpec spec_;
  BitPlan plan_;
  std::string config_json_, manifest_sha256_;
  nlohmann::ordered_json manifest_, plan_json_;
};

}  // namespace quantmoe
