#include "client/spec_flags.h"

#include <array>
#include <filesystem>
#include <map>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include <google/protobuf/map.h>

#include "base/error_info.h"
#include "client/text/byte_size.h"

namespace quantmoe {
namespace {

using Violations = std::vector<FieldViolation>;
using TextMap = google::protobuf::Map<std::string, std::string>;

// File names that --tasks looks for: the tasks of BenchmarkTask.name.
constexpr std::array<const char*, 11> kTasks = {"arc_challenge", "arc_easy",       "boolq",     "copa",
                                                "hellaswag",     "lambada_openai", "mmlu",      "openbookqa",
                                                "piqa",          "wikitext",       "winogrande"};

// One value for each occurrence, so that a positional argument may follow.
void AddRepeated(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                 const std::string& type, const std::string& help) {
  command.add_option(name, values, help)->allow_extra_args(false)->type_name(type);
}

// The two sides of "NAME=VALUE", or a violation.
std::optional<std::pair<std::string, std::string>> SplitPair(const std::string& text, const std::string& flag,
                                                             Violations& violations) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    violations.push_back({flag, absl::StrCat("'", text, "' is not NAME=VALUE")});
    return std::nullopt;
  }
  return std::make_pair(text.substr(0, equals), text.substr(equals + 1));
}

void FillMap(const std::vector<std::string>& pairs, const std::string& flag, TextMap& map,
             Violations& violations) {
  for (const std::string& text : pairs) {
    const auto pair = SplitPair(text, flag, violations);
    if (pair && !map.insert({pair->first, pair->second}).second) {
      violations.push_back({flag, absl::StrCat("'", pair->first, "' is given twice")});
    }
  }
}

// Hashes a file into the digest, or says where the server finds it; an empty path leaves both unset.
template <typename Mutable>
void FillFile(const std::string& path, const std::string& flag, FileUploads& uploads, Violations& violations,
              std::string& uri, Mutable mutable_digest) {
  if (path.empty()) return;
  if (absl::StartsWith(path, "hf://")) {
    uri = path;
    return;
  }
  absl::StatusOr<v1::Digest> digest = uploads.Add(path);
  if (digest.ok()) {
    *mutable_digest() = *std::move(digest);
  } else {
    violations.push_back({flag, std::string(digest.status().message())});
  }
}

std::optional<int64_t> ReadSize(const std::string& text, const char* flag, Violations& violations) {
  const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
  if (bytes.ok()) return *bytes;
  violations.push_back({flag, std::string(bytes.status().message())});
  return std::nullopt;
}

void FillBudget(const SpecFlags& flags, v1::JobSpec& spec, Violations& violations) {
  const int given = int{flags.bits.has_value()} + int{!flags.bytes.empty()} +
                    int{flags.stored_bits.has_value()} + int{!flags.rank_bytes.empty()};
  if (given > 1 || (given == 0 && flags.preset.empty())) {
    violations.push_back({"--bits", "give exactly one of --bits, --bytes, --stored-bits and --rank-bytes"});
    return;
  }
  if (given == 0) return;
  v1::BitBudget& budget = *spec.mutable_budget();
  if (flags.bits) budget.set_average_bits(*flags.bits);
  if (flags.stored_bits) budget.set_stored_bits(*flags.stored_bits);
  if (!flags.bytes.empty()) {
    if (const auto bytes = ReadSize(flags.bytes, "--bytes", violations)) budget.set_max_bytes(*bytes);
  }
  if (flags.rank_bytes.empty()) return;
  if (flags.ranks < 1) violations.push_back({"--ranks", "say how many ranks --rank-bytes is for"});
  if (const auto bytes = ReadSize(flags.rank_bytes, "--rank-bytes", violations)) {
    budget.mutable_rank_bytes()->set_max_bytes(*bytes);
    budget.mutable_rank_bytes()->set_ranks(flags.ranks);
  }
}

enum class Bound { kPin, kFloor, kCeiling };

void FillRules(const std::vector<std::string>& texts, const char* flag, Bound bound, v1::JobSpec& spec,
               Violations& violations) {
  for (const std::string& text : texts) {
    const auto pair = SplitPair(text, flag, violations);
    if (!pair) continue;
    int bits = 0;
    if (!absl::SimpleAtoi(pair->second, &bits)) {
      violations.push_back({flag, absl::StrCat("'", pair->second, "' is no number of bits")});
      continue;
    }
    v1::WidthRule& rule = *spec.add_rules();
    rule.set_pattern(pair->first);
    if (bound != Bound::kCeiling) rule.set_min_bits(bits);
    if (bound != Bound::kFloor) rule.set_max_bits(bits);
  }
}

void FillGptq(const SpecFlags& flags, v1::GptqParams& gptq) {
  gptq.set_group_size(flags.group_size);
  for (const int width : flags.widths) gptq.add_widths(width);
  gptq.set_damp(flags.damp);
  if (flags.order == "natural") gptq.set_order(v1::GptqParams::NATURAL);
  if (flags.order == "activation") gptq.set_order(v1::GptqParams::ACTIVATION);
  if (flags.order == "group") gptq.set_order(v1::GptqParams::GROUP);
  if (flags.scales == "range") gptq.set_scales(v1::GptqParams::RANGE);
  if (flags.scales == "positive") gptq.set_scales(v1::GptqParams::POSITIVE);
  if (flags.scales == "signed") gptq.set_scales(v1::GptqParams::SIGNED);
  if (flags.min_tokens_ratio) gptq.set_min_tokens_ratio(*flags.min_tokens_ratio);
  if (flags.max_fallback_ratio) gptq.set_max_fallback_ratio(*flags.max_fallback_ratio);
  if (flags.propagation == "original") gptq.set_propagation(v1::GptqParams::ORIGINAL);
  if (flags.propagation == "quantized") gptq.set_propagation(v1::GptqParams::QUANTIZED);
  if (flags.correction) gptq.set_correction(*flags.correction);
  if (flags.gate_weighted) gptq.set_gate_weighted(*flags.gate_weighted);
  if (flags.shrinkage) gptq.set_shrinkage(*flags.shrinkage);
  for (const std::string& pattern : flags.all_tokens) gptq.add_all_tokens(pattern);
}

void FillCalibration(const SpecFlags& flags, FileUploads& uploads, v1::Calibration& calibration,
                     Violations& violations) {
  FillFile(flags.calibration, "--calibration", uploads, violations, *calibration.mutable_text_uri(),
           [&] { return calibration.mutable_text(); });
  calibration.set_samples(flags.samples);
  calibration.set_sequence_length(flags.sequence_length);
  calibration.set_shard_sequences(flags.shard_sequences);
  if (flags.states == "f32") calibration.set_states(v1::Calibration::F32);
  if (flags.states == "bf16") calibration.set_states(v1::Calibration::BF16);
}

// What --tasks, --task and --fewshot name together; single files win over the directory's.
struct TaskFiles {
  std::map<std::string, std::string> data;
  std::map<std::string, std::string> fewshot;
};

TaskFiles FindTasks(const std::string& directory, Violations& violations) {
  TaskFiles files;
  if (directory.empty()) return files;
  const auto find = [&](const std::string& name, std::string& found) {
    std::error_code ignored;
    for (const char* ending : {".parquet", ".jsonl"}) {
      const std::filesystem::path path = std::filesystem::path(directory) / (name + ending);
      if (std::filesystem::is_regular_file(path, ignored)) found = path.string();
    }
    return !found.empty();
  };
  for (const std::string task : kTasks) {
    std::string data, fewshot;
    if (!find(task, data)) continue;
    files.data[task] = data;
    if (find(task + "_dev", fewshot)) files.fewshot[task] = fewshot;
  }
  if (files.data.empty()) {
    violations.push_back({"--tasks", absl::StrCat("no known <task>.jsonl or .parquet in '", directory, "'")});
  }
  return files;
}

TaskFiles CollectTasks(const SpecFlags& flags, Violations& violations) {
  TaskFiles files = FindTasks(flags.tasks_dir, violations);
  for (const std::string& text : flags.tasks) {
    if (const auto pair = SplitPair(text, "--task", violations)) files.data[pair->first] = pair->second;
  }
  for (const std::string& text : flags.fewshot) {
    const auto pair = SplitPair(text, "--fewshot", violations);
    if (!pair) continue;
    files.fewshot[pair->first] = pair->second;
    if (files.data.count(pair->first) == 0) {
      violations.push_back({"--fewshot", absl::StrCat("there is no task '", pair->first, "'")});
    }
  }
  return files;
}

void FillEvaluation(const SpecFlags& flags, FileUploads& uploads, v1::Evaluation& evaluation,
                    Violations& violations) {
  evaluation.set_skip(flags.no_evaluation);
  evaluation.set_window(flags.window);
  if (flags.add_bos || flags.no_add_bos) evaluation.set_add_bos(flags.add_bos);
  FillFile(flags.text, "--text", uploads, violations, *evaluation.mutable_perplexity_text_uri(),
           [&] { return evaluation.mutable_perplexity_text(); });
  TaskFiles files = CollectTasks(flags, violations);
  for (const auto& [name, path] : files.data) {
    v1::BenchmarkTask& task = *evaluation.add_tasks();
    task.set_name(name);
    task.set_limit(flags.limit);
    FillFile(path, "--task", uploads, violations, *task.mutable_data_uri(),
             [&] { return task.mutable_data(); });
    FillFile(files.fewshot[name], "--fewshot", uploads, violations, *task.mutable_fewshot_data_uri(),
             [&] { return task.mutable_fewshot_data(); });
  }
}

v1::JobSpec FillSpec(const SpecFlags& flags, FileUploads& uploads, Violations& violations) {
  v1::JobSpec spec;
  spec.mutable_model()->set_uri(AbsoluteModelUri(flags.model));
  FillBudget(flags, spec, violations);
  FillRules(flags.pins, "--pin", Bound::kPin, spec, violations);
  FillRules(flags.floors, "--min-bits", Bound::kFloor, spec, violations);
  FillRules(flags.ceilings, "--max-bits", Bound::kCeiling, spec, violations);
  for (const std::string& pattern : flags.protected_patterns) {
    v1::WidthRule& rule = *spec.add_rules();
    rule.set_pattern(pattern);
    rule.set_protect(true);
  }
  spec.mutable_heuristic()->set_preset(flags.preset);
  const bool chosen = !flags.heuristic.empty() || !flags.preset.empty();
  spec.mutable_heuristic()->set_name(chosen ? flags.heuristic : "optimal");
  FillMap(flags.params, "--param", *spec.mutable_heuristic()->mutable_params(), violations);
  FillGptq(flags, *spec.mutable_gptq());
  FillCalibration(flags, uploads, *spec.mutable_calibration(), violations);
  FillEvaluation(flags, uploads, *spec.mutable_evaluation(), violations);
  spec.set_runtime_profile(flags.profile);
  if (flags.refine_rounds != 0 || flags.refine_trials != 0) {
    spec.mutable_refinement()->set_rounds(flags.refine_rounds);
    spec.mutable_refinement()->set_trials(flags.refine_trials);
  }
  return spec;
}

// Help shows the flags that are added next under this title.
void BeginGroup(CLI::App& command, const std::string& title) { command.option_defaults()->group(title); }

void AddGptqFlags(CLI::App& command, SpecFlags& flags) {
  BeginGroup(command, "Quantization");
  command.add_option("--group-size", flags.group_size,
                     "Input channels that share a scale: 32, 64 or 128 (default: the largest that fits)");
  command.add_option("--widths", flags.widths, "Candidate widths in bits (default: 2,3,4,8)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--damp", flags.damp,
                     "Dampening, as a share of the Hessian's mean diagonal (default: 0.01)");
  command
      .add_option("--order", flags.order,
                  "In which columns are quantized: natural, activation or group (default: activation)")
      ->check(CLI::IsMember({"natural", "activation", "group"}));
  command
      .add_option(
          "--scales", flags.scales,
          "Of a group: positive (least error), signed (of either sign), range (from its largest weight), "
          "auto (signed at 2 and 3 bits, positive above) (default: auto)")
      ->check(CLI::IsMember({"auto", "positive", "signed", "range"}));
  command.add_option(
      "--min-tokens-ratio", flags.min_tokens_ratio,
      "Round linears that saw fewer tokens than this share of their input width (default: 0.25)");
  command.add_option("--max-fallback-ratio", flags.max_fallback_ratio,
                     "Fail when more than this share of the linears was rounded (default: 0.25)");
  command
      .add_option(
          "--propagation", flags.propagation,
          "original: all layers at once; quantized: each layer on what the quantized ones before it give "
          "(default: original)")
      ->check(CLI::IsMember({"original", "quantized"}));
  command.add_option("--correction", flags.correction,
                     "Quantized propagation: share of the inputs' drift that weights make up for, 0 to 1 "
                     "(default: 1)");
  command.add_option("--gate-weighted", flags.gate_weighted,
                     "Count tokens for an expert by the square of their router weight: true or false "
                     "(default: false)");
  command.add_option("--shrinkage", flags.shrinkage,
                     "Pull of a cold expert's Hessian toward its layer's, in tokens a channel (default: 0)");
  AddRepeated(command, "--all-tokens", flags.all_tokens, "PATTERN",
              "Experts that all tokens of their layer calibrate, routed or not; repeatable");
}

void AddCalibrationFlags(CLI::App& command, SpecFlags& flags) {
  BeginGroup(command, "Calibration");
  command
      .add_option("--calibration", flags.calibration,
                  "Calibration text (UTF-8), or rows (JSON lines, Parquet), here or at "
                  "hf://datasets/owner/name@revision/path (default: shipped prose)")
      ->type_name("FILE");
  command.add_option("--samples", flags.samples, "Calibration sequences (default: 128)");
  command.add_option("--sequence-length", flags.sequence_length,
                     "Tokens of a calibration sequence (default: the model's context, 2048 at most)");
  command.add_option("--shard-sequences", flags.shard_sequences, "Sequences of one shard (default: 8)");
  command
      .add_option("--states", flags.states,
                  "Type in which activations travel from task to task: f32, or bf16 for half of the bytes "
                  "(default: f32)")
      ->check(CLI::IsMember({"f32", "bf16"}));
  CLI::Option* add_bos =
      command.add_flag("--add-bos", flags.add_bos,
                       "Put the begin token before texts and prompts (default: as the tokenizer says)");
  command.add_flag("--no-add-bos", flags.no_add_bos, "Never put it there")->excludes(add_bos);
}

void AddEvaluationFlags(CLI::App& command, SpecFlags& flags) {
  BeginGroup(command, "Evaluation");
  command
      .add_option("--text", flags.text,
                  "Perplexity text, in a form of --calibration (default: shipped prose)")
      ->type_name("FILE");
  command.add_option("--window", flags.window,
                     "Tokens of a perplexity window (default: the model's context, 2048 at most)");
  command
      .add_option("--tasks", flags.tasks_dir,
                  "Take every known <task>.jsonl or .parquet, with <task>_dev as few-shot")
      ->type_name("DIR");
  AddRepeated(command, "--task", flags.tasks, "NAME=FILE",
              "Benchmark items as JSON lines or Parquet, here or at hf://datasets/...; repeatable");
  AddRepeated(command, "--fewshot", flags.fewshot, "NAME=FILE",
              "Items for few-shot prompts of a task; repeatable");
  command.add_option("--limit", flags.limit, "Only the first so many items of each task (default: all)")
      ->check(CLI::PositiveNumber);
  command.add_flag("--no-evaluation", flags.no_evaluation, "Skip perplexity and benchmarks");
}

void AddModel(CLI::App& command, SpecFlags& flags) {
  command.add_option("model", flags.model, "Directory or URI of the model")
      ->required()
      ->type_name("MODEL_URI");
}

// The budget and what spends it.
void AddChoiceFlags(CLI::App& command, SpecFlags& flags) {
  BeginGroup(command, "Budget (give one of them)");
  CLI::Option* bits =
      command.add_option("--bits", flags.bits, "Average width of the quantized linears, such as 3.0");
  command.add_option("--bytes", flags.bytes, "Size of the weight files, such as 10GiB")
      ->type_name("SIZE")
      ->excludes(bits);
  command.add_option("--stored-bits", flags.stored_bits,
                     "Bits of codes, scales and zero points for each quantized weight");
  command
      .add_option("--rank-bytes", flags.rank_bytes, "Bytes on the fullest of --ranks expert-parallel ranks")
      ->type_name("SIZE");
  BeginGroup(command, "Plan");
  command.add_option("--heuristic", flags.heuristic,
                     "What spends the budget; see `quantmoe heuristics` (default: optimal)");
  command.add_option("--preset", flags.preset, "A published configuration; see `quantmoe heuristics`");
}

void AddRemainingFlags(CLI::App& command, SpecFlags& flags) {
  BeginGroup(command, "Plan");
  command.add_option("--ranks", flags.ranks, "Expert-parallel ranks that --rank-bytes is for");
  AddRepeated(command, "--param", flags.params, "KEY=VALUE", "Parameter of the heuristic; repeatable");
  command.add_option("--profile", flags.profile,
                     "Target loader; see `quantmoe profiles` (default: gptqmodel)");
  AddRepeated(command, "--pin", flags.pins, "PATTERN=BITS",
              "Width of the linears that match a kind, a class or a glob over names; repeatable");
  AddRepeated(command, "--min-bits", flags.floors, "PATTERN=BITS", "Their least width; repeatable");
  AddRepeated(command, "--max-bits", flags.ceilings, "PATTERN=BITS", "Their largest width; repeatable");
  AddRepeated(command, "--protect", flags.protected_patterns, "PATTERN",
              "Give them the largest width; repeatable");
  command.add_option("--refine-rounds", flags.refine_rounds,
                     "Rounds of a search that keeps what measures better on held-out text (default: none)");
  command.add_option("--refine-trials", flags.refine_trials, "Plans that a round measures (default: 16)");
  AddGptqFlags(command, flags);
  AddCalibrationFlags(command, flags);
  AddEvaluationFlags(command, flags);
  BeginGroup(command, "Options");
}

}  // namespace

void AddSpecFlags(CLI::App& command, SpecFlags& flags) {
  AddModel(command, flags);
  AddChoiceFlags(command, flags);
  AddRemainingFlags(command, flags);
}

void AddSharedSpecFlags(CLI::App& command, SpecFlags& flags) {
  AddModel(command, flags);
  AddRemainingFlags(command, flags);
}

void AddJobFlags(CLI::App& command, JobFlags& flags) {
  BeginGroup(command, "Job");
  command.add_option("--name", flags.name, "Id of the job; the server chooses one by default")
      ->type_name("JOB_ID");
  command.add_option("--display-name", flags.display_name, "Name for people");
  AddRepeated(command, "--label", flags.labels, "KEY=VALUE", "Label of the job; repeatable");
  command.add_option("--request-id", flags.request_id, "Makes repeated submits one job; random by default");
  command.add_flag("--validate-only", flags.validate_only,
                   "Check only, and show every default filled in; create nothing");
}

absl::StatusOr<v1::JobSpec> MakeJobSpec(const SpecFlags& flags, FileUploads& uploads) {
  Violations violations;
  v1::JobSpec spec = FillSpec(flags, uploads, violations);
  if (!violations.empty()) return InvalidFields(std::move(violations));
  return spec;
}

absl::StatusOr<v1::CreateJobRequest> MakeCreateJobRequest(const SpecFlags& spec, const JobFlags& job,
                                                          FileUploads& uploads) {
  Violations violations;
  v1::CreateJobRequest request;
  *request.mutable_job()->mutable_spec() = FillSpec(spec, uploads, violations);
  request.mutable_job()->set_display_name(job.display_name);
  FillMap(job.labels, "--label", *request.mutable_job()->mutable_labels(), violations);
  request.set_job_id(job.name);
  request.set_request_id(job.request_id.empty() ? RandomUuid() : job.request_id);
  request.set_validate_only(job.validate_only);
  if (!violations.empty()) return InvalidFields(std::move(violations));
  return request;
}

std::string AbsoluteModelUri(const std::string& model) {
  // The server names what is wrong with an empty one.
  if (model.empty() || absl::StrContains(model, "://")) return model;
  std::string path = std::filesystem::absolute(model).lexically_normal().string();
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string RandomUuid() {
  std::random_device device;
  std::array<uint32_t, 4> words;
  for (uint32_t& word : words) word = device();
  words[1] = (words[1] & 0xFFFF0FFF) | 0x4000;
  words[2] = (words[2] & 0x3FFFFFFF) | 0x80000000;
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16, words[1] & 0xFFFF,
                         words[2] >> 16, words[2] & 0xFFFF, words[3]);
}

}  // namespace quantmoe
