#include "local/model_input.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/model/gptq_source.h"
#include "plan/model/model_config.h"
#include "plan/model/model_files.h"
#include "plan/model/tensor_problems.h"
#include "quant/artifact/quantized_weights.h"
#include "sources/data_file.h"
#include "storage/lfs_pointer.h"
#include "storage/whole_file.h"

namespace quantmoe {

std::string AbsoluteUri(const std::string& path) {
  if (path.find("://") != std::string::npos) return path;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(path, error);
  return error ? path : absolute.string();
}

absl::StatusOr<std::shared_ptr<ModelDirectory>> OpenModelAt(const std::string& path,
                                                            const ModelSources& models) {
  ASSIGN_OR_RETURN(std::unique_ptr<ModelDirectory> directory, OpenModel(AbsoluteUri(path), models));
  return std::shared_ptr<ModelDirectory>(std::move(directory));
}

absl::StatusOr<ModelInput> OpenModelInput(const std::string& path, const ModelSources& models) {
  ModelInput input;
  ASSIGN_OR_RETURN(const std::shared_ptr<ModelDirectory> directory, OpenModelAt(path, models));
  ASSIGN_OR_RETURN(input.checkpoint, Checkpoint::Open(directory));
  ASSIGN_OR_RETURN(input.config_json, ReadModelConfig(*directory));
  ASSIGN_OR_RETURN(std::optional<GptqSource> quantized, ReadGptqSource(input.config_json));
  input.quantized = quantized.has_value();
  if (quantized) {
    input.config_json = quantized->config_json;
    ASSIGN_OR_RETURN(input.spec, ParseModelConfig(input.config_json));
    const auto problems = FindGptqProblems(*quantized, input.spec, *input.checkpoint);
    if (!problems.empty()) return problems.front();
    input.weights = std::make_unique<GptqWeights>(*std::move(quantized), input.spec, input.checkpoint);
    return input;
  }
  ASSIGN_OR_RETURN(input.spec, ParseModelConfig(input.config_json));
  RETURN_IF_ERROR(CheckTensors(input.spec, *input.checkpoint));
  input.weights = std::make_unique<CheckpointWeights>(input.spec, input.checkpoint, at::kFloat);
  return input;
}

namespace {

absl::StatusOr<std::string> ReadDataSet(const std::string& uri, const ModelSources& sources) {
  ASSIGN_OR_RETURN(const DataFile data, ReadDataFile(uri, sources));
  return std::string(data.file.bytes());
}

absl::StatusOr<std::string> OfFlag(const std::string& flag, absl::StatusOr<std::string> bytes) {
  if (!bytes.ok()) return NameFlag(flag, bytes.status());
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> ReadUserFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, ReadWholeFile(path, kMaxDataBytes));
  if (IsLfsPointer(bytes)) return LfsPointerError(path);
  return bytes;
}

absl::StatusOr<std::string> ReadUserFile(const std::string& flag, const std::string& path) {
  return OfFlag(flag, ReadUserFile(path));
}

absl::StatusOr<std::string> ReadUserData(const std::string& path, const ModelSources& sources) {
  ASSIGN_OR_RETURN(std::string bytes, IsDataUri(path) ? ReadDataSet(path, sources) : ReadUserFile(path));
  if (IsBlank(bytes)) return BlankFile(path);
  return bytes;
}

absl::StatusOr<std::string> ReadUserData(const std::string& flag, const std::string& path,
                                         const ModelSources& sources) {
  return OfFlag(flag, ReadUserData(path, sources));
}

ReadFolder HubCache(const ModelSources& models) {
  const std::string& cache = models.hub.cache_dir;
  return {"the cache of the Hub", NormalPath(cache.empty() ? DefaultHubCacheDir() : cache)};
}

std::vector<ReadFolder> FoldersReadFor(const std::string& model, const ModelSources& models) {
  std::vector<ReadFolder> folders;
  const absl::StatusOr<ModelUri> uri = ParseModelUri(AbsoluteUri(model));
  if (uri.ok() && uri->scheme == ModelUri::Scheme::kFile) folders = FoldersOfModel(uri->path);
  folders.push_back(HubCache(models));
  return folders;
}

}  // namespace quantmoe
