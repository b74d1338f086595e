// How the result is measured: the message Evaluation of proto/quantmoe/v1/types.proto.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/options/digest_options.h"
#include "plan/options/option.h"

namespace quantmoe {

inline constexpr std::array<absl::string_view, 11> kBenchmarks = {
    "arc_challenge", "arc_easy",   "boolq", "copa",     "hellaswag", "lambada_openai",
    "mmlu",          "openbookqa", "piqa",  "wikitext", "winogrande"};
inline constexpr int kMaxWindow = 1 << 24;

struct BenchmarkTaskSpec {
  std::string name;
  Digest data;
  Digest fewshot_data;  // empty sha256: none
  int64_t limit = 0;    // only the first so many items; 0: all
  // Files that stand for the digests.
  std::string data_uri = {};
  std::string fewshot_data_uri = {};

  friend bool operator==(const BenchmarkTaskSpec&, const BenchmarkTaskSpec&) = default;
};

template <SpecOf<BenchmarkTaskSpec> Spec, typename Visit>
void VisitOptions(Spec& task, Visit& visit) {
  visit(
      OptionInfo{
          .name = "name", .help = "Name of a benchmark", .choices = kBenchmarks, .kept = Kept::kAlways},
      task.name);
  visit(OptionInfo{.name = "data", .help = "Digest of the items", .required = true, .kept = Kept::kAlways},
        task.data);
  visit(
      OptionInfo{
          .name = "fewshot_data", .help = "Digest of the items of few-shot prompts", .kept = Kept::kAlways},
      task.fewshot_data);
  visit(OptionInfo{.name = "limit",
                   .help = "Only the first so many items",
                   .unset = "all",
                   .range = AtLeast(0),
                   .kept = Kept::kUnlessDefault},
        task.limit);
  visit(OptionInfo{.name = "data_uri",
                   .help = "Items as JSON lines or Parquet, here or at hf://datasets/...",
                   .value = "FILE",
                   .kept = Kept::kNever,
                   .typed = Typed::kAsFile},
        task.data_uri);
  visit(OptionInfo{.name = "fewshot_data_uri",
                   .help = "Items that few-shot prompts are taken from, likewise",
                   .value = "FILE",
                   .kept = Kept::kNever,
                   .typed = Typed::kAsFile},
        task.fewshot_data_uri);
}

struct EvaluationSpec {
  bool skip = false;
  Digest perplexity_text;
  int window = 0;
  std::vector<BenchmarkTaskSpec> tasks;
  std::optional<bool> add_bos;
  std::string perplexity_text_uri = {};  // a file that stands for `perplexity_text`

  friend bool operator==(const EvaluationSpec&, const EvaluationSpec&) = default;
};

template <SpecOf<EvaluationSpec> Spec, typename Visit>
void VisitOptions(Spec& evaluation, Visit& visit) {
  visit(OptionInfo{.name = "perplexity_text", .help = "Digest of the perplexity text", .kept = Kept::kAlways},
        evaluation.perplexity_text);
  visit(OptionInfo{.name = "perplexity_text_uri",
                   .flag = "--text",
                   .group = HelpGroup::kEvaluation,
                   .help = "Perplexity text, in a form of --calibration",
                   .unset = "shipped prose",
                   .value = "FILE",
                   .kept = Kept::kNever,
                   .typed = Typed::kAsFile},
        evaluation.perplexity_text_uri);
  visit(OptionInfo{.name = "window",
                   .flag = "--window",
                   .group = HelpGroup::kEvaluation,
                   .help = "Tokens of a perplexity window",
                   .unset = "the model's context, 2048 at most",
                   .range = Between(0, kMaxWindow),
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks},
        evaluation.window);
  // Prepare is told the names, and gets the items as inputs.
  visit(OptionInfo{.name = "tasks", .help = "Benchmarks to run", .kept = Kept::kAlways}, evaluation.tasks);
  visit(OptionInfo{.name = "add_bos",
                   .flag = "--add-bos,!--no-add-bos",
                   .group = HelpGroup::kCalibration,
                   .help = "Put the begin token before texts and prompts, or never",
                   .unset = "as the tokenizer says",
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks},
        evaluation.add_bos);
  visit(OptionInfo{.name = "skip",
                   .flag = "--no-evaluation",
                   .group = HelpGroup::kEvaluation,
                   .help = "Skip perplexity and benchmarks",
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks,
                   .task_key = "evaluation_skip"},
        evaluation.skip);
}

}  // namespace quantmoe
