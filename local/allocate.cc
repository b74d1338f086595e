#include <iostream>

#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "local/warnings.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/distortion_table.h"
#include "plan/job/complete_input.h"
#include "plan/job/job_allocation.h"
#include "plan/model/tensor_views.h"

namespace quantmoe {
namespace {

struct AllocateFlags {
  std::string table;
  cli::TypedFlags spec;
};

// As for a job that leaves it open.
int LargestGroupSize(const DistortionTable& table) {
  std::vector<Linear> linears;
  for (const auto& part : table.parts) {
    for (const auto& row : part.rows) linears.push_back(row.linear);
  }
  return DefaultGroupSize(linears);
}

absl::Status AllocateTable(const AllocateFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile("--table", flags.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(text));
  ASSIGN_OR_RETURN(cli::SpecInput input,
                   cli::ReadSpec(flags.spec, {.model = false, .budget = true}, cli::LeaveFile));
  JobSpec& spec = input.spec;
  RETURN_IF_ERROR(InvalidFields(CompleteInput(spec)));
  if (spec.gptq.group_size == 0) spec.gptq.group_size = LargestGroupSize(table);
  spec.gptq.max_fallback_ratio = 1.0;
  std::vector<TensorInfo> kept;
  if (!spec.model_uri.empty()) {
    ASSIGN_OR_RETURN(const ModelInput model, OpenModelInput(spec.model_uri, models));
    kept = KeptTensors(model.spec, *model.checkpoint);
  } else if (spec.budget.max_bytes.has_value() || spec.budget.rank_bytes.has_value()) {
    return absl::InvalidArgumentError("a budget in bytes needs --model: unquantized tensors count too");
  }
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(table, spec, kept));
  nlohmann::json printed = OwnJson(BitPlanToJson(plan));
  if (spec.model_uri.empty()) {
    printed.erase("weight_file_bytes");
    PrintWarnings({"weight_file_bytes is left out: without --model the unquantized tensors are not known"});
  }
  std::cout << printed.dump() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddAllocate(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand("allocate", "Makes a plan from a saved distortion table, as JSON.");
  auto flags = std::make_shared<AllocateFlags>();
  command.Add("--table", flags->table, "table of a job (its `table` output, or quantize --table)")
      .Type("FILE")
      .Required();
  // The group size is the one that the table was made with, the model is for budgets in bytes.
  const auto wants = [](const OptionInfo& option) {
    return cli::IsOfPlan(option) || absl::string_view(option.flag) == "--group-size";
  };
  cli::AddSpecFlags(command, flags->spec, {.job_file = false, .wants = wants});
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return AllocateTable(*flags, models); };
  });
}

}  // namespace quantmoe
