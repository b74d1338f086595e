#include "plan/job/pareto.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "plan/model/tensor_views.h"
#include "plan/options/heuristic_names.h"

namespace quantmoe {
namespace {

struct ParetoFlags {
  std::string table, model, svg, profile, objective;
  std::vector<std::string> measured;
  int points = 24;
  bool json = false;
};

// The plan and the scores of an artifact directory.
absl::Status AddMeasured(const std::string& directory, const DistortionTable& table, const JobSpec& spec,
                         ParetoFront& front) {
  ASSIGN_OR_RETURN(const std::string plan_text,
                   ReadUserFile("--measured", directory + "/quantmoe_plan.json"));
  ASSIGN_OR_RETURN(const std::string scores_text,
                   ReadUserFile("--measured", directory + "/quantmoe_scores.json"));
  ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(plan_text));
  const nlohmann::json scores = ParseJson(scores_text).value_or(nullptr);
  const auto perplexity = [&scores](const char* which) {
    const nlohmann::json::json_pointer pointer(absl::StrCat("/", which, "/perplexity/value"));
    return scores.contains(pointer) && scores[pointer].is_number() ? scores[pointer].get<double>() : 0.0;
  };
  ASSIGN_OR_RETURN(const ParetoPoint point, PlacePlan(table, spec, plan));
  front.measured.push_back({directory, plan.heuristic, point, perplexity("planned")});
  front.original_perplexity = perplexity("original");
  return absl::OkStatus();
}

absl::Status Trace(const ParetoFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile("--table", flags.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(text));
  ASSIGN_OR_RETURN(const ModelInput model, OpenModelInput(flags.model, models));
  JobSpec spec;
  spec.heuristic = kOptimalHeuristic;
  if (!flags.profile.empty()) spec.runtime_profile = flags.profile;
  if (!flags.objective.empty()) spec.heuristic_params["objective"] = flags.objective;
  ASSIGN_OR_RETURN(ParetoFront front,
                   TraceFront(table, spec, KeptTensors(model.spec, *model.checkpoint), flags.points));
  for (const std::string& directory : flags.measured) {
    RETURN_IF_ERROR(AddMeasured(directory, table, spec, front));
  }
  if (!flags.svg.empty()) RETURN_IF_ERROR(WriteOutputFile(flags.svg, DrawFrontAsSvg(front)));
  std::cout << (flags.json ? ParetoFrontToJson(front) + "\n" : DrawFrontAsText(front));
  return absl::OkStatus();
}

}  // namespace

void AddPareto(cli::Command app, Run& run) {
  cli::Command command =
      app.AddCommand("pareto", "Draws bytes against loss over all budgets of a saved table.");
  auto flags = std::make_shared<ParetoFlags>();
  command.Add("--table", flags->table, "table of a job (quantize --table)").Type("FILE").Required();
  command.Add("--model,model", flags->model, "model directory: unquantized tensors count too").Required();
  command.Add("--profile", flags->profile, "what the target loader can run");
  command.Add("--objective", flags->objective, "measured, block, distortion or gate");
  command.Add("--points", flags->points, "budgets to solve, 2 to 200, evenly spaced in bytes")
      .Within(Between(2, 200));
  command
      .Add("--measured", flags->measured,
           "artifact directory whose scores are shown; `quantize --work-dir` solves once for all of them")
      .Type("DIR");
  command.Add("--svg", flags->svg, "also write the drawing here").Type(kOutputFile);
  command.AddSwitch("--json", flags->json, "print JSON instead of the drawing");
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return Trace(*flags, models); };
  });
}

}  // namespace quantmoe
