// The commands of quantmoe-local, one file each. A command adds its flags to the parser and sets `run`.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

#include "cli/command.h"
#include "sources/model_sources.h"

namespace quantmoe {

struct ComputeDevice;  // quant/device/compute_device.h

// What the chosen command does, with models from there and numerics on that device.
using Run = std::function<absl::Status(const ModelSources& models, const ComputeDevice& device)>;

void AddQuantize(cli::Command app, Run& run);
void AddLogits(cli::Command app, Run& run);
void AddTokenize(cli::Command app, Run& run);
void AddSolve(cli::Command app, Run& run);
void AddEvaluate(cli::Command app, Run& run);
void AddAllocate(cli::Command app, Run& run);
void AddCompare(cli::Command app, Run& run);
void AddPareto(cli::Command app, Run& run);
void AddInspect(cli::Command app, Run& run);
void AddExport(cli::Command app, Run& run);

}  // namespace quantmoe
