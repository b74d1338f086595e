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

void AddInspect(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "inspect", "Prints what a model is made of, as JSON; of the weights it reads headers only.");
  auto path = std::make_shared<std::string>();
  command.Add("--model,model", *path, "model directory or URI").Required();
  command.OnParsed([&run, path] {
    run = [path](const ModelSources& models, const ComputeDevice&) { return Inspect(*path, models); };
  });
}

}  // namespace quantmoe
