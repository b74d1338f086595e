// quantmoe-local: every step of a job without a service, in one process.
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/crash_report.h"
#include "base/error_info.h"
#include "base/log.h"
#include "base/program_exit.h"
#include "base/version.h"
#include "cli/command_files.h"
#include "cli/model_source_flags.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "quant/device/compute_device.h"
#include "quant/device/instruction_set.h"
#include "quant/device/torch_guard.h"
#include "quant/tasks/run_task.h"
#include "sources/abandonable_call.h"
#include "storage/mapped_reads.h"

namespace {

// Input that no second try makes good, as for the exit codes of `quantmoe`. What is not found is what the
// user named.
bool IsRefused(const absl::Status& status, const quantmoe::ErrorInfo& info) {
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
         info.reason == "BIT_BUDGET_INFEASIBLE";
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << quantmoe::DescribeError("quantmoe-local", status);
  return IsRefused(status, quantmoe::GetErrorInfo(status)) ? 2 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  quantmoe::InstallCrashReport(argv[0]);
  CLI::App app("Every step of a quantmoe job without a service, in one process.", "quantmoe-local");
  app.require_subcommand(1);
  app.set_version_flag("--version", quantmoe::kProgramVersion);
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  app.add_option("--threads", threads, "threads of the numerics; they never change a result")
      ->check(CLI::Range(1, 1024));
  std::string device = "auto";
  app.add_option("--device", device, "auto, cpu, cuda or cuda:N; auto takes the first GPU that can be used")
      ->envname("QUANTMOE_DEVICE")
      ->capture_default_str();
  std::string instruction_set = "auto";
  app.add_option("--instruction-set", instruction_set,
                 "auto, avx512, avx2 or baseline; auto takes the best of this machine")
      ->envname("QUANTMOE_INSTRUCTION_SET")
      ->capture_default_str();
  quantmoe::ModelSources models{.roots = {}, .confined = false, .hub = {}};
  quantmoe::AddHubFlags(app, models.hub);
  quantmoe::Run run;
  quantmoe::AddQuantize(app, run);
  quantmoe::AddLogits(app, run);
  quantmoe::AddTokenize(app, run);
  quantmoe::AddSolve(app, run);
  quantmoe::AddEvaluate(app, run);
  quantmoe::AddAllocate(app, run);
  quantmoe::AddCompare(app, run);
  quantmoe::AddPareto(app, run);
  quantmoe::AddInspect(app, run);
  quantmoe::AddExport(app, run);
  const std::vector<std::string> joined = quantmoe::cli::JoinSwitchValues({argv, argv + argc});
  std::vector<const char*> arguments;
  for (const std::string& argument : joined) arguments.push_back(argument.c_str());
  if (const auto code = quantmoe::ParseFlags(app, static_cast<int>(arguments.size()), arguments.data()))
    return *code;
  quantmoe::InitLogging(quantmoe::LogFormat::kText, quantmoe::LogLevel::kWarning);
  absl::Status status = quantmoe::ChooseInstructionSet(instruction_set);
  if (!status.ok()) return Report(status);
  quantmoe::SetComputeThreads(threads);
  status = quantmoe::CheckCommandFiles(app, {quantmoe::HubCache(models)});
  if (status.ok()) status = quantmoe::CheckModelSources(models);
  absl::StatusOr<quantmoe::ComputeDevice> opened;
  if (status.ok()) {
    opened = quantmoe::OpenComputeDevice(device);
    status = opened.status();
  }
  const quantmoe::MappedReads reads;
  if (status.ok()) {
    status =
        quantmoe::RunGuarded(app.get_subcommands().front()->get_name(), [&] { return run(models, *opened); });
  }
  // What came of a file that was cut meanwhile is worth nothing, and so is what it says went wrong.
  if (const absl::Status read = reads.Check(); !read.ok()) status = read;
  return quantmoe::ExitCodeOrEnd(quantmoe::FinishOutput("quantmoe-local", std::cout, Report(status)));
}
