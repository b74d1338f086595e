#include <iostream>

#include "base/status_macros.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "plan/job/inspection.h"

namespace quantmoe {
namespace {

absl::Status Inspect(const std::string& path, const ModelSources& models) {
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModelAt(path, models));
  ASSIGN_OR_RETURN(const std::string json, InspectModel(std::move(directory)));
  std::cout << json << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddInspect(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "inspect", "Prints what a model is made of, as JSON; of the weights it reads headers only.");
  auto path = std::make_shared<std::string>();
  command->add_option("--model,model", *path, "model directory or URI")->required();
  command->callback([&run, path] {
    run = [path](const ModelSources& models, const ComputeDevice&) { return Inspect(*path, models); };
  });
}

}  // namespace quantmoe
