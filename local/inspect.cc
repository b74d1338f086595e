#include <iostream>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/program_exit.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "plan/job/inspection.h"

namespace quantmoe {
namespace {

absl::StatusOr<std::string> InspectAt(const std::string& path, const ModelSources& models) {
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModelAt(path, models));
  return InspectModel(std::move(directory));
}

// An object of the models by the names that were given. What cannot be inspected has an "error" there, and
// the first of these errors is the command's.
absl::Status InspectAll(const std::vector<std::string>& paths, const ModelSources& models) {
  absl::Status first;
  const char* before = "{";
  for (const std::string& path : paths) {
    const absl::StatusOr<std::string> json = InspectAt(path, models);
    if (!json.ok() && first.ok()) first = json.status();
    std::cout << std::exchange(before, ",\n ") << nlohmann::json(path) << ": "
              << (json.ok() ? *json : nlohmann::json{{"error", DescribeError(path, json.status())}}.dump());
  }
  std::cout << "}\n";
  return first;
}

absl::Status Inspect(const std::vector<std::string>& paths, const ModelSources& models) {
  if (paths.size() > 1) return InspectAll(paths, models);
  ASSIGN_OR_RETURN(const std::string json, InspectAt(paths.front(), models));
  std::cout << json << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddInspect(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "inspect", "Prints what a model is made of, as JSON; of the weights it reads headers only.");
  auto paths = std::make_shared<std::vector<std::string>>();
  command.Add("--model,model", *paths, "model directories or URIs; of several, an object by their names")
      .Required();
  command.OnParsed([&run, paths] {
    run = [paths](const ModelSources& models, const ComputeDevice&) { return Inspect(*paths, models); };
  });
}

}  // namespace quantmoe
