// A model directory of the command line: original, or quantized in GPTQ form.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "plan/model/model_spec.h"
#include "quant/model/weights.h"
#include "sources/checkpoint.h"
#include "sources/model_sources.h"
#include "storage/output_directory.h"
#include "text/model_tokenizer.h"

namespace quantmoe {

struct ModelInput {
  std::shared_ptr<Checkpoint> checkpoint;
  std::string config_json;
  ModelSpec spec;
  bool quantized = false;
  std::unique_ptr<WeightSource> weights;
};

// `path` is a path (relative ones count from the current directory) or a URI. What is allowed is for
// `models` to say.
absl::StatusOr<ModelInput> OpenModelInput(const std::string& path, const ModelSources& models);
absl::StatusOr<std::shared_ptr<ModelDirectory>> OpenModelAt(const std::string& path,
                                                            const ModelSources& models);

// A whole file that the user named, as ReadWholeFile does with kMaxDataBytes; a Git LFS pointer is refused.
absl::StatusOr<std::string> ReadUserFile(const std::string& path);
absl::StatusOr<std::string> ReadUserFile(const std::string& flag, const std::string& path);  // errors name it
// A text or items: a file here, or one of a data set (sources/data_file.h). Errors of ReadUserFile,
// ReadDataFile and BlankFile.
absl::StatusOr<std::string> ReadUserData(const std::string& path, const ModelSources& sources);
absl::StatusOr<std::string> ReadUserData(const std::string& flag, const std::string& path,
                                         const ModelSources& sources);
// An absolute path or URI from what the user typed.
std::string AbsoluteUri(const std::string& path);
// Where files of the Hub are kept, which outputs must stay clear of.
ReadFolder HubCache(const ModelSources& models);
// The same with what a model is: the folder of the model, if it is one on this machine, and the cache of
// the Hub.
std::vector<ReadFolder> FoldersReadFor(const std::string& model, const ModelSources& models);

}  // namespace quantmoe
