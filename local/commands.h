// The commands of quantmoe-local, one file each. A command adds its flags to the parser and sets `run`.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include <CLI/CLI.hpp>

#include "sources/model_sources.h"

namespace quantmoe {

struct ComputeDevice;  // quant/device/compute_device.h

// What the chosen command does, with models from there and numerics on that device.
using Run = std::function<absl::Status(const ModelSources& models, const ComputeDevice& device)>;

void AddQuantize(CLI::App& app, Run& run);
void AddLogits(CLI::App& app, Run& run);
void AddTokenize(CLI::App& app, Run& run);
void AddSolve(CLI::App& app, Run& run);
void AddEvaluate(CLI::App& app, Run& run);
void AddAllocate(CLI::App& app, Run& run);
void AddCompare(CLI::App& app, Run& run);
void AddPareto(CLI::App& app, Run& run);
void AddInspect(CLI::App& app, Run& run);
void AddExport(CLI::App& app, Run& run);

}  // namespace quantmoe
