#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "quant/model/likelihood.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

struct LogitsFlags {
  std::string model, input_ids, out, dtype = "f32";
};

// A JSON list of equally long lists -> [n, t] i64.
absl::StatusOr<at::Tensor> ReadIds(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile("--input-ids", path));
  const nlohmann::json json = ParseJson(text).value_or(nullptr);
  const auto invalid = [&](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("--input-ids ", path, ": ", why));
  };
  if (!json.is_array() || json.empty()) return invalid("not a JSON list of lists");
  std::vector<int64_t> ids;
  for (const auto& row : json) {
    if (!row.is_array() || row.empty() || row.size() != json[0].size())
      return invalid("the lists are not of one length");
    for (const auto& id : row) {
      if (!id.is_number_integer()) return invalid("an id is not an integer");
      ids.push_back(id.get<int64_t>());
    }
  }
  return at::tensor(ids, at::kLong).view({static_cast<int64_t>(json.size()), -1});
}

absl::Status Logits(const LogitsFlags& flags, const ModelSources& models) {
  const c10::InferenceMode inference;
  ASSIGN_OR_RETURN(ModelInput model, OpenModelInput(flags.model, models));
  ASSIGN_OR_RETURN(const at::Tensor ids, ReadIds(flags.input_ids));
  if (flags.dtype == "bf16" && !model.quantized) {
    model.weights = std::make_unique<CheckpointWeights>(model.spec, model.checkpoint, at::kBFloat16);
  }
  const int64_t n = ids.size(0), t = ids.size(1);
  std::vector<at::Tensor> states;
  ASSIGN_OR_RETURN(const at::Tensor last, RunModel(model.spec, ids.flatten(), {{n, t}}, *model.weights,
                                                   [&](int, const at::Tensor& hidden) {
                                                     states.push_back(hidden.to(at::kFloat).view({n, t, -1}));
                                                     return absl::OkStatus();
                                                   }));
  ASSIGN_OR_RETURN(const OutputHead head, OutputHead::Load(model.spec, *model.weights));
  const at::Tensor logits = head.Logits(last).to(at::kFloat).view({n, t, -1}).contiguous();
  return WriteTensorFile(flags.out,
                         {{"logits", logits}, {"hidden_states", at::stack(states, 0).contiguous()}});
}

}  // namespace

void AddLogits(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand("logits", "Writes logits and hidden states of given token ids.");
  auto flags = std::make_shared<LogitsFlags>();
  command.Add("--model,model", flags->model, "model directory, original or quantized").Required();
  command.Add("--input-ids", flags->input_ids, "JSON list of lists of ids").Type("FILE").Required();
  command
      .Add("--out", flags->out, "safetensors: logits [n, t, vocab], hidden_states [layers+1, n, t, hidden]")
      .Required()
      .Type(kOutputFile);
  command.Add("--dtype", flags->dtype, "type of the computation").OneOf({"f32", "bf16"});
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return Logits(*flags, models); };
  });
}

}  // namespace quantmoe
