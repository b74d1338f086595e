#include <iostream>

#include "base/status_macros.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "plan/job/inspection.h"
#include "plan/model/model_config.h"
#include "plan/model/model_files.h"
#include "text/model_tokenizer.h"

namespace quantmoe {
namespace {

// What the list of files does not tell: whether the tokenizer can be read, and fits the model.
absl::Status CheckTokenizer(ModelDirectory& directory) {
  ASSIGN_OR_RETURN(const std::string config, ReadModelConfig(directory));
  ASSIGN_OR_RETURN(const ModelSpec spec, ParseModelConfig(config));
  return OpenTokenizer(directory, spec.vocab).status();
}

absl::Status Inspect(const std::string& path, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::shared_ptr<ModelDirectory> directory, OpenModelDirectory(path, models));
  std::vector<std::string> problems;
  if (const absl::Status tokenizer = CheckTokenizer(*directory); !tokenizer.ok())
    problems.emplace_back(tokenizer.message());
  ASSIGN_OR_RETURN(const std::string json, InspectModel(directory, problems));
  std::cout << json << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddInspect(CLI::App& app, Run& run) {
  auto* command =
      app.add_subcommand("inspect", "Prints what a model is made of, as JSON; reads headers only.");
  auto path = std::make_shared<std::string>();
  command->add_option("--model,model", *path, "model directory or URI")->required();
  command->callback([&run, path] {
    run = [path](const ModelSources& models, const ComputeDevice&) { return Inspect(*path, models); };
  });
}

}  // namespace quantmoe
