#include <iostream>

#include "base/status_macros.h"
#include "local/commands.h"
#include "local/flag_values.h"
#include "local/model_input.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/distortion_table.h"
#include "plan/job/job_allocation.h"
#include "plan/model/tensor_views.h"

namespace quantmoe {
namespace {

struct AllocateFlags {
  std::string table, model;
  JobSpec spec;
  PlanFlags plan;
};

// As for a job that leaves it open.
int LargestGroupSize(const DistortionTable& table) {
  std::vector<Linear> linears;
  for (const auto& part : table.parts) {
    for (const auto& row : part.rows) linears.push_back(row.linear);
  }
  return DefaultGroupSize(linears);
}

absl::Status AllocateTable(AllocateFlags flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile(flags.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(text));
  RETURN_IF_ERROR(ReadPlanFlags(flags.plan, flags.spec));
  if (flags.spec.gptq.group_size == 0) flags.spec.gptq.group_size = LargestGroupSize(table);
  std::vector<TensorInfo> kept;
  if (!flags.model.empty()) {
    ASSIGN_OR_RETURN(const ModelInput model, OpenModelInput(flags.model, models));
    kept = KeptTensors(model.spec, *model.checkpoint);
  } else if (flags.spec.budget.max_bytes.has_value() || flags.spec.budget.rank_bytes.has_value()) {
    return absl::InvalidArgumentError("a budget in bytes needs --model: unquantized tensors count too");
  }
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(table, flags.spec, kept));
  std::cout << BitPlanToJson(plan) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddAllocate(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("allocate", "Makes a plan from a saved distortion table, as JSON.");
  auto flags = std::make_shared<AllocateFlags>();
  flags->spec.gptq.max_fallback_ratio = 1.0;
  command->add_option("--table", flags->table, "table of a job (its `table` output, or quantize --table)")
      ->type_name("FILE")
      ->required();
  AddPlanFlags(*command, flags->plan);
  command->add_option("--group-size", flags->spec.gptq.group_size,
                      "group size the table was made with; 0: the largest that fits");
  command->add_option("--model", flags->model, "model directory, for budgets in bytes");
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return AllocateTable(*flags, models); }; });
}

}  // namespace quantmoe
