// The parameters and inputs of one task, with errors that name what is missing.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/exception_text.h"
#include "base/status_macros.h"
#include "plan/graph/task_kind.h"
#include "plan/model/linears.h"
#include "plan/model/model_spec.h"
#include "quant/tasks/task_context.h"
#include "quant/tensor_bytes.h"
#include "sources/checkpoint.h"

namespace quantmoe {

class TaskArguments {
 public:
  // INVALID_ARGUMENT when the parameters are not a JSON object.
  static absl::StatusOr<TaskArguments> Parse(const std::string& params_json,
                                             const std::vector<BlobRef>& inputs);

  // INVALID_ARGUMENT when the parameter is missing or of another type.
  template <typename T>
  absl::StatusOr<T> Param(const std::string& key) const {
    try {
      return params_.at(key).template get<T>();
    } catch (const nlohmann::json::exception& e) {
      return absl::InvalidArgumentError(absl::StrCat("task parameter ", key, ": ", ExceptionText(e)));
    }
  }
  const nlohmann::json& params() const { return params_; }

  // INVALID_ARGUMENT when there is no input of that role.
  absl::StatusOr<Digest> Input(const std::string& role) const;
  bool HasInput(const std::string& role) const { return inputs_.contains(role); }
  // The inputs `prefix`.0, `prefix`.1, ... in order of their number; the only input `prefix` counts too.
  std::vector<Digest> InputSeries(const std::string& prefix) const;
  const std::map<std::string, Digest>& inputs() const { return inputs_; }

 private:
  nlohmann::json params_;
  std::map<std::string, Digest> inputs_;
};

// The model that a task reads.
struct OpenedModel {
  std::shared_ptr<Checkpoint> checkpoint;
  std::string config_json;
  ModelSpec spec;
};

// Opens `model_uri` below the allowed roots. FAILED_PRECONDITION MODEL_CHANGED when its fingerprint, or that
// of its files where the task depends on them, is no longer the job's; errors of Param, OpenModel,
// Checkpoint::Open, ModelDirectory::ReadAll and ParseModelConfig.
absl::StatusOr<OpenedModel> OpenTaskModel(const TaskArguments& arguments, const TaskContext& context);

// Says that the weights of these parts will be read: from a remote place they come in few requests.
// Errors of ModelDirectory::Prefetch.
absl::Status ExpectWeights(const OpenedModel& model, const std::vector<Part>& parts);

// The part that the parameters `layer` and `part` name; its weights are expected. INVALID_ARGUMENT when
// there is no such part; errors of Param and ExpectWeights.
absl::StatusOr<Part> PartOfTask(const TaskArguments& arguments, const OpenedModel& model);

// Activations as one blob: matrices and stacks of them in the type that the parameter `states` names ("f32"
// by default), vectors as they are. Errors of PutTensors.
absl::StatusOr<Digest> PutStates(const TaskArguments& arguments, BlobStore& blobs,
                                 const NamedTensors& tensors);
// The tensors of such a blob; bf16 is widened to f32. Errors of GetTensors.
absl::StatusOr<NamedTensors> GetStates(BlobStore& blobs, const Digest& digest);

// The input of that role, read by `parse`. Errors of Input, BlobStore::Open and `parse`.
template <typename T>
absl::StatusOr<T> ReadInput(const TaskArguments& arguments, BlobStore& blobs, const std::string& role,
                            absl::StatusOr<T> (*parse)(absl::string_view)) {
  ASSIGN_OR_RETURN(const Digest digest, arguments.Input(role));
  ASSIGN_OR_RETURN(const MappedFile text, blobs.Open(digest));
  return parse(text.bytes());
}

// The stream in the input of that role, [sequences, length, hidden]. Errors of Input and GetStates.
absl::StatusOr<at::Tensor> ReadStream(const TaskArguments& arguments, BlobStore& blobs,
                                      const std::string& role);

// One JSON blob. Errors of BlobStore::Open; DATA_LOSS for what is no JSON.
absl::StatusOr<nlohmann::json> GetJson(BlobStore& blobs, const Digest& digest);

// CANCELLED once the task's flag is set.
absl::Status CheckCancelled(const TaskContext& context);

using TaskOutputs = std::vector<BlobRef>;
// The code of one kind of task: Run<Kind> in the file of the kind, which run_task.cc declares and calls.
// Errors as of RunTask, which also catches what it throws.
using TaskFunction = absl::StatusOr<TaskOutputs>(const TaskArguments& arguments, TaskContext& context);

}  // namespace quantmoe
