#include "client/spec_flags.h"

#include <array>
#include <filesystem>
#include <map>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include <google/protobuf/map.h>

#include "base/error_info.h"
#include "client/byte_size.h"

namespace quantmoe {
namespace {

using Violations = std::vector<FieldViolation>;
using TextMap = google::protobuf::Map<std::string, std::string>;

// File names that --tasks looks for: the tasks of BenchmarkTask.name.
constexpr std::array<const char*, 6> kTasks = {"copa",       "hellaswag", "mmlu",
                                               "openbookqa", "piqa",      "winogrande"};

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

// Hashes a file into `digest`; an empty path leaves it unset.
template <typename Mutable>
void FillFile(const std::string& path, const std::string& flag, FileUploads& uploads, Violations& violations,
              Mutable mutable_digest) {
  if (path.empty()) return;
  absl::StatusOr<v1::Digest> digest = uploads.Add(path);
  if (digest.ok()) {
    *mutable_digest() = *std::move(digest);
  } else {
    violations.push_back({flag, std::string(digest.status().message())});
  }
}

void FillBudget(const SpecFlags& flags, v1::BitBudget& budget, Violations& violations) {
  if (flags.bits.has_value() == !flags.bytes.empty()) {
    violations.push_back({"--bits", "give exactly one of --bits and --bytes"});
    return;
  }
  if (flags.bits) return budget.set_average_bits(*flags.bits);
  const absl::StatusOr<int64_t> bytes = ParseByteSize(flags.bytes);
  if (!bytes.ok()) return violations.push_back({"--bytes", std::string(bytes.status().message())});
  budget.set_max_bytes(*bytes);
}

void FillGptq(const SpecFlags& flags, v1::GptqParams& gptq) {
  gptq.set_group_size(flags.group_size);
  for (const int width : flags.widths) gptq.add_widths(width);
  gptq.set_damp(flags.damp);
  if (flags.no_act_order) gptq.set_act_order(false);
  if (flags.no_scale_search) gptq.set_scale_search(false);
  if (flags.min_tokens_ratio) gptq.set_min_tokens_ratio(*flags.min_tokens_ratio);
  if (flags.max_fallback_ratio) gptq.set_max_fallback_ratio(*flags.max_fallback_ratio);
}

void FillCalibration(const SpecFlags& flags, FileUploads& uploads, v1::Calibration& calibration,
                     Violations& violations) {
  FillFile(flags.calibration, "--calibration", uploads, violations,
           [&] { return calibration.mutable_text(); });
  calibration.set_samples(flags.samples);
  calibration.set_sequence_length(flags.sequence_length);
  calibration.set_shard_sequences(flags.shard_sequences);
}

// What --tasks, --task and --fewshot name together; single files win over the directory's.
struct TaskFiles {
  std::map<std::string, std::string> data;
  std::map<std::string, std::string> fewshot;
};

TaskFiles FindTasks(const std::string& directory, Violations& violations) {
  TaskFiles files;
  if (directory.empty()) return files;
  std::error_code ignored;
  for (const std::string task : kTasks) {
    const std::filesystem::path path = std::filesystem::path(directory) / (task + ".jsonl");
    if (!std::filesystem::is_regular_file(path, ignored)) continue;
    files.data[task] = path.string();
    const std::filesystem::path dev = std::filesystem::path(directory) / (task + "_dev.jsonl");
    if (std::filesystem::is_regular_file(dev, ignored)) files.fewshot[task] = dev.string();
  }
  if (files.data.empty()) {
    violations.push_back({"--tasks", absl::StrCat("no known <task>.jsonl in '", directory, "'")});
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
  FillFile(flags.text, "--text", uploads, violations, [&] { return evaluation.mutable_perplexity_text(); });
  TaskFiles files = CollectTasks(flags, violations);
  for (const auto& [name, path] : files.data) {
    v1::BenchmarkTask& task = *evaluation.add_tasks();
    task.set_name(name);
    FillFile(path, "--task", uploads, violations, [&] { return task.mutable_data(); });
    FillFile(files.fewshot[name], "--fewshot", uploads, violations,
             [&] { return task.mutable_fewshot_data(); });
  }
}

v1::JobSpec FillSpec(const SpecFlags& flags, FileUploads& uploads, Violations& violations) {
  v1::JobSpec spec;
  spec.mutable_model()->set_uri(AbsoluteModelUri(flags.model));
  FillBudget(flags, *spec.mutable_budget(), violations);
  spec.mutable_heuristic()->set_name(flags.heuristic);
  FillMap(flags.params, "--param", *spec.mutable_heuristic()->mutable_params(), violations);
  FillGptq(flags, *spec.mutable_gptq());
  FillCalibration(flags, uploads, *spec.mutable_calibration(), violations);
  FillEvaluation(flags, uploads, *spec.mutable_evaluation(), violations);
  spec.set_runtime_profile(flags.profile);
  return spec;
}

void AddGptqFlags(CLI::App& command, SpecFlags& flags) {
  command.add_option("--group-size", flags.group_size, "Input channels that share a scale: 32, 64 or 128");
  command.add_option("--widths", flags.widths, "Candidate widths in bits, such as 2,3,4,8")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--damp", flags.damp, "Dampening, as a share of the Hessian's mean diagonal");
  command.add_flag("--no-act-order", flags.no_act_order, "Quantize columns in their own order");
  command.add_flag("--no-scale-search", flags.no_scale_search, "Take each group's scale from its extremes");
  command.add_option("--min-tokens-ratio", flags.min_tokens_ratio,
                     "Round linears that saw fewer tokens than this share of their input width");
  command.add_option("--max-fallback-ratio", flags.max_fallback_ratio,
                     "Fail when more than this share of the linears was rounded");
}

void AddTextFlags(CLI::App& command, SpecFlags& flags) {
  command
      .add_option("--calibration", flags.calibration, "Calibration text (UTF-8); shipped prose by default")
      ->type_name("FILE");
  command.add_option("--samples", flags.samples, "Calibration sequences");
  command.add_option("--sequence-length", flags.sequence_length, "Tokens of a calibration sequence");
  command.add_option("--shard-sequences", flags.shard_sequences, "Sequences of one shard");
  command.add_option("--text", flags.text, "Perplexity text (UTF-8); shipped prose by default")
      ->type_name("FILE");
  command.add_option("--window", flags.window, "Tokens of a perplexity window");
  AddRepeated(command, "--task", flags.tasks, "NAME=FILE", "Benchmark items as JSON lines; repeatable");
  AddRepeated(command, "--fewshot", flags.fewshot, "NAME=FILE",
              "Items for few-shot prompts of a task; repeatable");
  command
      .add_option("--tasks", flags.tasks_dir,
                  "Take every known <task>.jsonl, with <task>_dev.jsonl as few-shot")
      ->type_name("DIR");
  CLI::Option* add_bos =
      command.add_flag("--add-bos", flags.add_bos, "Put the begin token before texts and prompts");
  command.add_flag("--no-add-bos", flags.no_add_bos, "Never put it there")->excludes(add_bos);
  command.add_flag("--no-evaluation", flags.no_evaluation, "Skip perplexity and benchmarks");
}

}  // namespace

void AddSpecFlags(CLI::App& command, SpecFlags& flags) {
  command.add_option("model", flags.model, "Directory or URI of the model")
      ->required()
      ->type_name("MODEL_URI");
  CLI::Option* bits =
      command.add_option("--bits", flags.bits, "Budget as average width of the quantized linears");
  command.add_option("--bytes", flags.bytes, "Budget as size of the weight files, such as 10GiB")
      ->type_name("SIZE")
      ->excludes(bits);
  command.add_option("--heuristic", flags.heuristic, "What spends the budget; see `quantmoe heuristics`")
      ->capture_default_str();
  AddRepeated(command, "--param", flags.params, "KEY=VALUE", "Parameter of the heuristic; repeatable");
  command.add_option("--profile", flags.profile, "Target loader; see `quantmoe profiles`");
  AddGptqFlags(command, flags);
  AddTextFlags(command, flags);
}

void AddJobFlags(CLI::App& command, JobFlags& flags) {
  command.add_option("--name", flags.name, "Id of the job; the server chooses one by default")
      ->type_name("JOB_ID");
  command.add_option("--display-name", flags.display_name, "Name for people");
  AddRepeated(command, "--label", flags.labels, "KEY=VALUE", "Label of the job; repeatable");
  command.add_option("--request-id", flags.request_id, "Makes repeated submits one job; random by default");
  command.add_flag("--validate-only", flags.validate_only, "Check only; create nothing");
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
