#include <algorithm>
#include <chrono>
#include <iostream>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "quant/gptq/device_solver.h"
#include "quant/gptq/packing.h"
#include "quant/tasks/solve_options.h"
#include "quant/tensor_bytes.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

struct SolveFlags {
  std::string input, out;
  std::vector<int> widths = SolveOptions().widths;
  cli::TypedFlags options;
};

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

absl::StatusOr<at::Tensor> Matrix(const NamedTensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end() || found->second.dim() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("--input: no matrix ", name));
  }
  return found->second.to(at::kFloat).contiguous();
}

absl::StatusOr<SolveOptions> ReadOptions(const SolveFlags& flags) {
  ASSIGN_OR_RETURN(cli::SpecInput input,
                   cli::ReadSpec(flags.options, {.model = false, .budget = false}, cli::LeaveFile));
  input.spec.gptq.widths = flags.widths;
  if (input.spec.gptq.group_size == 0) input.spec.gptq.group_size = SolveOptions().group_size;
  return SolveOptionsOf(input.spec.gptq);
}

void PrintWidth(int width, double seconds, double error, const SolveFactor& factor) {
  std::cout << nlohmann::ordered_json{{"bits", width},
                                      {"seconds", seconds},
                                      {"layer_error", error},
                                      {"damp", factor.damp},
                                      {"method", factor.Method()},
                                      {"fallback", factor.fallback}}
                   .dump()
            << "\n";
}

// The number of tokens behind the Hessian is not known here; it counts as enough.
SharedInput OneLinear(const at::Tensor& weight, const at::Tensor& hessian, const std::vector<int>& widths,
                      c10::Device device) {
  return SharedInput{.own = {Hessian(hessian.to(device), hessian.size(0))},
                     .linears = {{.id = 0, .name = "W", .weight = weight.to(device), .widths = widths}}};
}

absl::Status SolveFile(const SolveFlags& flags, const ComputeDevice& device) {
  const c10::InferenceMode inference;
  const absl::StatusOr<NamedTensors> tensors = ReadTensorFile(flags.input);
  if (!tensors.ok()) return NameFlag("--input", tensors.status());
  ASSIGN_OR_RETURN(const at::Tensor weight, Matrix(*tensors, "W"));
  ASSIGN_OR_RETURN(const at::Tensor hessian, Matrix(*tensors, "H"));
  if (absl::Status status = CheckHessian(hessian, weight.size(1)); !status.ok()) {
    return Annotate(status, "--input");
  }
  ASSIGN_OR_RETURN(const SolveOptions options, ReadOptions(flags));
  const double start = Seconds();
  NamedTensors outputs;
  std::vector<SharedInput> inputs;
  inputs.push_back(OneLinear(weight, hessian, options.widths, device.device));
  RETURN_IF_ERROR(SolveShared(std::move(inputs), options, device, [&](const SolvedLinear& solved) {
    const double seconds = Seconds() - start;
    const double original = Distortion(weight, hessian);
    for (const auto& [width, quantized] : solved.widths) {
      const at::Tensor q =
          Dequantize(quantized.codes.cpu(), quantized.scales.cpu(), width, options.group_size);
      PrintWidth(width, seconds, original > 0 ? Distortion(weight - q, hessian) / original : 0.0,
                 solved.factor);
      outputs[absl::StrCat("Q.", width)] = q;
    }
    return absl::OkStatus();
  }));
  return flags.out.empty() ? absl::OkStatus() : WriteTensorFile(flags.out, outputs);
}

}  // namespace

void AddSolve(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "solve", "Quantizes one linear; one JSON line a width (the seconds are of all widths together).");
  auto flags = std::make_shared<SolveFlags>();
  command.Add("--input", flags->input, "safetensors with W [out, in] and H [in, in]").Type("FILE").Required();
  command.Add("--bits", flags->widths, "widths, e.g. 2,3,4").SplitAt(',');
  const auto wants = [](const OptionInfo& option) {
    constexpr absl::string_view kOfOneLinear[] = {"--group-size", "--damp", "--order", "--scales"};
    return std::find(std::begin(kOfOneLinear), std::end(kOfOneLinear), option.flag) != std::end(kOfOneLinear);
  };
  cli::AddSpecFlags(command, flags->options, {.model = false, .job_file = false, .wants = wants});
  command.Add("--out", flags->out, "safetensors with Q.<bits> [out, in]").Type(kOutputFile);
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources&, const ComputeDevice& device) { return SolveFile(*flags, device); };
  });
}

}  // namespace quantmoe
