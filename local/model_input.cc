#include "local/model_input.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "quant/artifact/quantized_weights.h"
#include "storage/data_file.h"

namespace quantmoe {

std::string AbsoluteUri(const std::string& path) {
  if (path.find("://") != std::string::npos) return path;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(path, error);
  return error ? path : absolute.string();
}

absl::StatusOr<std::shared_ptr<ModelDirectory>> OpenModelDirectory(const std::string& path,
                                                                   const ModelSources& models) {
  ASSIGN_OR_RETURN(std::unique_ptr<ModelDirectory> directory, OpenModel(AbsoluteUri(path), models));
  return std::shared_ptr<ModelDirectory>(std::move(directory));
}

namespace {

bool IsGptq(const nlohmann::ordered_json& config) {
  if (!config.is_object() || !config.contains("quantization_config")) return false;
  const auto& quantization = config["quantization_config"];
  return quantization.is_object() && quantization.value("quant_method", "") == "gptq";
}

}  // namespace

absl::StatusOr<ModelInput> OpenModelInput(const std::string& path, const ModelSources& models) {
  ModelInput input;
  ASSIGN_OR_RETURN(const std::shared_ptr<ModelDirectory> directory, OpenModelDirectory(path, models));
  ASSIGN_OR_RETURN(input.checkpoint, Checkpoint::Open(directory));
  ASSIGN_OR_RETURN(input.config_json, directory->ReadAll("config.json"));
  nlohmann::ordered_json config = ParseOrderedJson(input.config_json, kSmallJson).value_or(nullptr);
  input.quantized = IsGptq(config);
  if (input.quantized) {
    if (config["quantization_config"].value("checkpoint_format", "gptq") != "gptq") {
      return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
                       absl::StrCat(path, "/config.json: quantization_config is not GPTQ v1"));
    }
    config.erase("quantization_config");
    input.config_json = config.dump();
  }
  ASSIGN_OR_RETURN(input.spec, ParseModelConfig(input.config_json));
  if (input.quantized) {
    input.weights = std::make_unique<GptqWeights>(input.spec, input.checkpoint);
    return input;
  }
  RETURN_IF_ERROR(CheckTensors(input.spec, *input.checkpoint));
  input.weights = std::make_unique<CheckpointWeights>(input.spec, input.checkpoint, at::kFloat);
  return input;
}

absl::StatusOr<std::string> ReadUserFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path))
    return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

absl::StatusOr<std::string> ReadUserData(const std::string& path, const ModelSources& sources) {
  if (!IsDataUri(path)) return ReadUserFile(path);
  ASSIGN_OR_RETURN(const DataFile data, ReadDataFile(path, sources));
  return std::string(data.file.bytes());
}

absl::Status WriteUserFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  return out ? absl::OkStatus() : absl::InternalError(absl::StrCat("cannot write ", path));
}

}  // namespace quantmoe
