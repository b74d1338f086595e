#include <chrono>
#include <ctime>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "quant/evaluate/scores.h"
#include "quant/evaluate/text_file.h"
#include "quant/tasks/shard_scoring.h"
#include "text/model_chat_template.h"

namespace quantmoe {
namespace {

struct EvaluateFlags {
  cli::TypedFlags spec;  // model and evaluation
  std::string items;
};

// Tokens that went through the model, without padding, and the time that took: on the clock, and of all
// processors.
struct Speed {
  int64_t tokens = 0;
  double seconds = 0, cpu_seconds = 0;
};

absl::Status AddTasks(const std::vector<BenchmarkTaskSpec>& tasks, const ModelSources& sources,
                      RequestBuilder& builder) {
  for (const BenchmarkTaskSpec& task : tasks) {
    ASSIGN_OR_RETURN(const Benchmark benchmark, ParseBenchmark(task.name));
    ASSIGN_OR_RETURN(const std::string items, ReadUserData("--task", task.data_uri, sources));
    std::string shots;
    if (!task.fewshot_data_uri.empty()) {
      ASSIGN_OR_RETURN(shots, ReadUserData("--fewshot", task.fewshot_data_uri, sources));
    }
    RETURN_IF_ERROR(
        builder.AddTask(benchmark, items, task.data_uri, shots, task.fewshot_data_uri, task.limit));
  }
  return absl::OkStatus();
}

// What the flags ask of the model, cut into shards. INVALID_ARGUMENT when they ask nothing.
absl::StatusOr<std::vector<EvalShard>> ReadRequests(const EvaluationSpec& evaluation, const ModelInput& model,
                                                    const ModelSources& sources) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   OpenTokenizer(model.checkpoint->directory(), model.spec.vocab));
  const int context = static_cast<int>(model.spec.max_position);
  const EvalOptions options{evaluation.add_bos, context};
  RequestBuilder builder(*tokenizer, options);
  if (const std::string& file = evaluation.perplexity_text_uri; !file.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadUserData("--text", file, sources));
    ASSIGN_OR_RETURN(const std::string text,
                     ReadTextFile(bytes, file, ModelChatRenderer(model.checkpoint->directory())));
    const int window = evaluation.window > 0 ? evaluation.window : std::min(2048, context);
    RETURN_IF_ERROR(builder.AddPerplexity(text, window));
  }
  RETURN_IF_ERROR(AddTasks(evaluation.tasks, sources, builder));
  std::vector<EvalShard> shards = CutShards(std::move(builder).Finish());
  if (shards.empty()) return absl::InvalidArgumentError("nothing to evaluate: give --text or --task");
  return shards;
}

absl::StatusOr<EvalReport> Score(const std::vector<EvalShard>& shards, ModelInput& model, Speed& speed) {
  ScoreMerger merger;
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t cpu_begin = std::clock();
    ASSIGN_OR_RETURN(const ShardScores scores, ScoreShard(shards[i], model.spec, *model.weights,
                                                          [](int, int) { return absl::OkStatus(); }));
    speed.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    speed.cpu_seconds += static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    for (const EvalSequence& sequence : shards[i].sequences)
      speed.tokens += static_cast<int64_t>(sequence.ids.size());
    RETURN_IF_ERROR(merger.Add(shards[i], scores));
    std::cerr << absl::StrCat("[", i + 1, "/", shards.size(), "] scored\n");
  }
  return merger.Finish();
}

absl::Status Evaluate(const EvaluateFlags& flags, const ModelSources& models) {
  const c10::InferenceMode inference;
  ASSIGN_OR_RETURN(const cli::SpecInput input,
                   cli::ReadSpec(flags.spec, {.model = true, .budget = false}, cli::LeaveFile));
  const EvaluationSpec& evaluation = input.spec.evaluation;
  if (evaluation.perplexity_text_uri.empty() && input.given.contains("evaluation.window"))
    return InvalidFields({{"--window", "says nothing without --text"}});
  ASSIGN_OR_RETURN(ModelInput model, OpenModelInput(input.spec.model_uri, models));
  ASSIGN_OR_RETURN(const std::vector<EvalShard> shards, ReadRequests(evaluation, model, models));
  Speed speed;
  ASSIGN_OR_RETURN(const EvalReport report, Score(shards, model, speed));
  auto printed = OwnJson(ScoresToJson(report));
  printed["speed"] = {{"tokens", speed.tokens},
                      {"seconds", speed.seconds},
                      {"cpu_seconds", speed.cpu_seconds},
                      {"tokens_per_second", static_cast<double>(speed.tokens) / speed.seconds}};
  std::cout << printed << "\n";
  return flags.items.empty() ? absl::OkStatus() : WriteOutputFile(flags.items, ItemsToJsonLines(report));
}

}  // namespace

void AddEvaluate(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "evaluate", "Perplexity and task scores of an original or quantized directory, as JSON.");
  auto flags = std::make_shared<EvaluateFlags>();
  const auto wants = [](const OptionInfo& option) {
    const absl::string_view flag = option.flag;
    return option.group == HelpGroup::kEvaluation ? flag != "--no-evaluation"
                                                  : absl::StartsWith(flag, "--add-bos");
  };
  cli::AddSpecFlags(command, flags->spec, {.job_file = false, .wants = wants});
  command.Add("--items", flags->items, "also write one JSON line an item here").Type(kOutputFile);
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return Evaluate(*flags, models); };
  });
}

}  // namespace quantmoe
