#include <chrono>
#include <ctime>
#include <iostream>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/flag_values.h"
#include "local/model_input.h"
#include "quant/evaluate/scores.h"
#include "quant/evaluate/text_file.h"
#include "quant/tasks/shard_scoring.h"
#include "quant/text/model_chat_template.h"

namespace quantmoe {
namespace {

struct EvaluateFlags {
  std::string model, text, items;
  std::vector<std::string> tasks, fewshot;
  int window = 0;
  int64_t limit = 0;
  bool add_bos = false, no_add_bos = false;
};

// Tokens that went through the model, without padding, and the time that took: on the clock, and of all
// processors.
struct Speed {
  int64_t tokens = 0;
  double seconds = 0, cpu_seconds = 0;
};

absl::Status AddTasks(const EvaluateFlags& flags, const ModelSources& sources, RequestBuilder& builder) {
  ASSIGN_OR_RETURN(const auto tasks, ParsePairs(flags.tasks, "--task"));
  ASSIGN_OR_RETURN(const auto fewshot, ParsePairs(flags.fewshot, "--fewshot"));
  for (const auto& [name, file] : fewshot) {
    if (!tasks.contains(name)) return InvalidFields({{"--fewshot", absl::StrCat("there is no task ", name)}});
  }
  for (const auto& [name, file] : tasks) {
    ASSIGN_OR_RETURN(const Benchmark benchmark, ParseBenchmark(name));
    ASSIGN_OR_RETURN(const std::string items, ReadUserData(file, sources));
    const auto shots_file = fewshot.find(name);
    std::string shots;
    if (shots_file != fewshot.end()) {
      ASSIGN_OR_RETURN(shots, ReadUserData(shots_file->second, sources));
    }
    RETURN_IF_ERROR(
        builder.AddTask(benchmark, items, file, shots, shots.empty() ? "" : shots_file->second, flags.limit));
  }
  return absl::OkStatus();
}

absl::Status Evaluate(const EvaluateFlags& flags, const ModelSources& models) {
  const c10::InferenceMode inference;
  RETURN_IF_ERROR(CheckOutputFile(flags.items, "--items", FoldersReadFor(flags.model, models), {flags.text}));
  ASSIGN_OR_RETURN(ModelInput model, OpenModelInput(flags.model, models));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(model.checkpoint->directory()));
  const int context = static_cast<int>(model.spec.max_position);
  EvalOptions options{std::nullopt, context};
  if (flags.add_bos || flags.no_add_bos) options.add_bos = flags.add_bos;
  RequestBuilder builder(*tokenizer, options);
  if (!flags.text.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadUserData(flags.text, models));
    ASSIGN_OR_RETURN(const std::string text,
                     ReadTextFile(bytes, flags.text, ModelChatRenderer(model.checkpoint->directory())));
    RETURN_IF_ERROR(builder.AddPerplexity(text, flags.window > 0 ? flags.window : std::min(2048, context)));
  }
  RETURN_IF_ERROR(AddTasks(flags, models, builder));
  ScoreMerger merger;
  const std::vector<EvalShard> shards = CutShards(std::move(builder).Finish());
  if (shards.empty()) return absl::InvalidArgumentError("nothing to evaluate: give --text or --task");
  Speed speed;
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
  ASSIGN_OR_RETURN(const EvalReport report, merger.Finish());
  auto printed = OwnJson(ScoresToJson(report));
  printed["speed"] = {{"tokens", speed.tokens},
                      {"seconds", speed.seconds},
                      {"cpu_seconds", speed.cpu_seconds},
                      {"tokens_per_second", static_cast<double>(speed.tokens) / speed.seconds}};
  std::cout << printed << "\n";
  return flags.items.empty() ? absl::OkStatus() : WriteOutputFile(flags.items, ItemsToJsonLines(report));
}

}  // namespace

void AddEvaluate(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "evaluate", "Perplexity and task scores of an original or quantized directory, as JSON.");
  auto flags = std::make_shared<EvaluateFlags>();
  command->add_option("--model", flags->model, "model directory, original or GPTQ")->required();
  command->add_option("--text", flags->text, "text for perplexity, as for quantize")->type_name("FILE");
  command->add_option("--window", flags->window, "tokens of a window; 0: min(2048, context)");
  command
      ->add_option("--task", flags->tasks,
                   "benchmark items, JSON lines or Parquet, NAME=FILE or NAME=hf://datasets/...")
      ->type_name("NAME=FILE");
  command->add_option("--fewshot", flags->fewshot, "items for few-shot prompts, NAME=FILE")
      ->type_name("NAME=FILE");
  command->add_option("--limit", flags->limit, "only the first so many items of each task")
      ->check(CLI::PositiveNumber);
  command->add_option("--items", flags->items, "also write one JSON line an item here")->type_name("FILE");
  command->add_flag("--add-bos", flags->add_bos,
                    "put the beginning-of-sequence token before texts and prompts");
  command->add_flag("--no-add-bos", flags->no_add_bos, "never put it")->excludes("--add-bos");
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return Evaluate(*flags, models); }; });
}

}  // namespace quantmoe
