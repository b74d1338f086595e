#include "quant/tasks/arguments.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "plan/model/model_config.h"
#include "plan/model/model_files.h"
#include "sources/model_sources.h"

namespace quantmoe {
namespace {

// Tasks that read the tokenizer, or what else lies beside the weights, say which files were there.
absl::Status CheckFiles(const TaskArguments& arguments, ModelDirectory& directory) {
  if (!arguments.params().contains("files")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string expected, arguments.Param<std::string>("files"));
  ASSIGN_OR_RETURN(const std::string found, FingerprintOfFiles(directory));
  if (found == expected) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "MODEL_CHANGED",
      "the tokenizer or another file beside the model's weights is not what it was when the job was "
      "created");
}

}  // namespace

absl::StatusOr<TaskArguments> TaskArguments::Parse(const std::string& params_json,
                                                   const std::vector<BlobRef>& inputs) {
  TaskArguments arguments;
  arguments.params_ = ParseJson(params_json).value_or(nullptr);
  if (!arguments.params_.is_object())
    return absl::InvalidArgumentError("the task's parameters are not a JSON object");
  for (const BlobRef& input : inputs) arguments.inputs_[input.role] = input.digest;
  return arguments;
}

absl::StatusOr<Digest> TaskArguments::Input(const std::string& role) const {
  const auto found = inputs_.find(role);
  if (found == inputs_.end())
    return absl::InvalidArgumentError(absl::StrCat("task input ", role, " is missing"));
  return found->second;
}

std::vector<Digest> TaskArguments::InputSeries(const std::string& prefix) const {
  std::vector<std::pair<int64_t, Digest>> numbered;
  for (const auto& [role, digest] : inputs_) {
    int64_t number = 0;
    if (role == prefix) numbered.emplace_back(0, digest);
    if (absl::StartsWith(role, prefix + ".") && absl::SimpleAtoi(role.substr(prefix.size() + 1), &number)) {
      numbered.emplace_back(number, digest);
    }
  }
  std::sort(numbered.begin(), numbered.end());
  std::vector<Digest> series;
  for (auto& [number, digest] : numbered) series.push_back(std::move(digest));
  return series;
}

absl::StatusOr<OpenedModel> OpenTaskModel(const TaskArguments& arguments, const TaskContext& context) {
  ASSIGN_OR_RETURN(const std::string text, arguments.Param<std::string>("model_uri"));
  ASSIGN_OR_RETURN(const std::string fingerprint, arguments.Param<std::string>("fingerprint"));
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModel(text, context.models));
  OpenedModel model;
  ASSIGN_OR_RETURN(model.checkpoint, Checkpoint::Open(directory));
  if (model.checkpoint->fingerprint() != fingerprint) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_CHANGED",
                     absl::StrCat("the model at ", text, " is not what it was when the job was created"));
  }
  RETURN_IF_ERROR(CheckFiles(arguments, *directory));
  ASSIGN_OR_RETURN(model.config_json, directory->ReadAll("config.json"));
  ASSIGN_OR_RETURN(model.spec, ParseModelConfig(model.config_json));
  return model;
}

absl::Status ExpectWeights(const OpenedModel& model, const std::vector<Part>& parts) {
  std::vector<std::string> names;
  for (const Part& part : parts) {
    for (const Linear& linear : part.linears) names.push_back(linear.name + ".weight");
  }
  return model.checkpoint->Prefetch(names);
}

absl::StatusOr<Part> PartOfTask(const TaskArguments& arguments, const OpenedModel& model) {
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const size_t index, arguments.Param<size_t>("part"));
  std::vector<Part> parts = CutLayer(model.spec, layer);
  if (index >= parts.size())
    return absl::InvalidArgumentError(absl::StrCat("layer ", layer, " has no part ", index));
  RETURN_IF_ERROR(ExpectWeights(model, {parts[index]}));
  return std::move(parts[index]);
}

absl::StatusOr<Digest> PutStates(const TaskArguments& arguments, BlobStore& blobs,
                                 const NamedTensors& tensors) {
  if (arguments.params().value("states", "f32") != "bf16") return PutTensors(blobs, tensors);
  NamedTensors narrowed;
  for (const auto& [name, tensor] : tensors) {
    narrowed[name] = tensor.dim() >= 2 ? tensor.to(at::kBFloat16) : tensor;
  }
  return PutTensors(blobs, narrowed);
}

absl::StatusOr<NamedTensors> GetStates(BlobStore& blobs, const Digest& digest) {
  ASSIGN_OR_RETURN(NamedTensors tensors, GetTensors(blobs, digest));
  for (auto& [name, tensor] : tensors) {
    if (tensor.scalar_type() == at::kBFloat16) tensor = tensor.to(at::kFloat);
  }
  return tensors;
}

absl::StatusOr<at::Tensor> ReadStream(const TaskArguments& arguments, BlobStore& blobs,
                                      const std::string& role) {
  ASSIGN_OR_RETURN(const Digest digest, arguments.Input(role));
  ASSIGN_OR_RETURN(const NamedTensors tensors, GetStates(blobs, digest));
  return tensors.at("hidden");
}

absl::StatusOr<nlohmann::json> GetJson(BlobStore& blobs, const Digest& digest) {
  ASSIGN_OR_RETURN(const MappedFile map, blobs.Open(digest));
  absl::StatusOr<nlohmann::json> json = ParseJson(map.bytes());
  if (json.ok()) return json;
  return absl::DataLossError(absl::StrCat("blob ", digest.sha256, " ", json.status().message()));
}

absl::Status CheckCancelled(const TaskContext& context) {
  return context.cancelled ? absl::CancelledError("the task was cancelled") : absl::OkStatus();
}

}  // namespace quantmoe
