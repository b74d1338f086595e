#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/flag_values.h"
#include "local/job_runner.h"
#include "local/model_input.h"
#include "plan/bit_plan.h"
#include "plan/job_estimate.h"
#include "plan/shipped_prose.h"
#include "plan/tensor_views.h"
#include "storage/artifact_directory.h"
#include "storage/data_file.h"

namespace quantmoe {
namespace {

struct QuantizeFlags {
  JobSpec spec;
  PlanFlags plan;
  std::string model, out, calibration, text, work_dir, table;
  std::vector<std::string> tasks, fewshot;
  std::string propagation = "original", order = "activation", states = "f32";
  int64_t limit = 0;
  bool add_bos = false, no_add_bos = false, no_scale_search = false;
  bool estimate = false;
};

// Where texts and items are read from, and where they go.
struct UserData {
  const ModelSources& sources;
  LocalBlobStore& blobs;

  absl::StatusOr<Digest> Put(const char* flag, const std::string& path) const {
    const absl::StatusOr<std::string> bytes = ReadUserData(path, sources);
    if (bytes.ok()) return blobs.Put(*bytes);
    const std::vector<FieldViolation> bad = GetErrorInfo(bytes.status()).violations;
    if (!bad.empty()) return InvalidFields({{flag, bad.front().description}});
    if (IsDataUri(path)) return Annotate(bytes.status(), flag);
    return InvalidFields({{flag, std::string(bytes.status().message())}});
  }
};

absl::Status AddTasks(const QuantizeFlags& flags, const UserData& data, EvaluationSpec& evaluation) {
  ASSIGN_OR_RETURN(const auto tasks, ParsePairs(flags.tasks, "--task"));
  ASSIGN_OR_RETURN(const auto fewshot, ParsePairs(flags.fewshot, "--fewshot"));
  for (const auto& [name, file] : fewshot) {
    if (!tasks.contains(name)) return InvalidFields({{"--fewshot", absl::StrCat("there is no task ", name)}});
  }
  for (const auto& [name, file] : tasks) {
    BenchmarkTaskSpec task{name, {}, {}, flags.limit};
    ASSIGN_OR_RETURN(task.data, data.Put("--task", file));
    if (fewshot.contains(name)) {
      ASSIGN_OR_RETURN(task.fewshot_data, data.Put("--fewshot", fewshot.at(name)));
    }
    evaluation.tasks.push_back(std::move(task));
  }
  return absl::OkStatus();
}

absl::StatusOr<JobSpec> MakeSpec(const QuantizeFlags& flags, const UserData& data) {
  JobSpec spec = flags.spec;
  spec.model_uri = AbsoluteUri(flags.model);
  RETURN_IF_ERROR(ReadPlanFlags(flags.plan, spec));
  ASSIGN_OR_RETURN(spec.gptq.order, ParseColumnOrder(flags.order));
  spec.gptq.scale_search = !flags.no_scale_search;
  ASSIGN_OR_RETURN(spec.calibration.states, ParseStateType(flags.states));
  ASSIGN_OR_RETURN(spec.gptq.propagation, ParsePropagation(flags.propagation));
  ASSIGN_OR_RETURN(spec.calibration.text, flags.calibration.empty()
                                              ? data.blobs.Put(ShippedCalibrationProse())
                                              : data.Put("--calibration", flags.calibration));
  ASSIGN_OR_RETURN(spec.evaluation.perplexity_text, flags.text.empty() ? data.blobs.Put(ShippedHeldoutProse())
                                                                       : data.Put("--text", flags.text));
  if (flags.add_bos || flags.no_add_bos) spec.evaluation.add_bos = flags.add_bos;
  RETURN_IF_ERROR(AddTasks(flags, data, spec.evaluation));
  return spec;
}

void Report(const std::string& label, size_t done, size_t total) {
  std::cerr << absl::StrCat("[", done, "/", total, "] ", label, "\n");
}

// Where the time went, by kind of task: {"solve": {"tasks": 23, "cached": 0, "seconds": 1.5}, ...}.
nlohmann::ordered_json StageTimes(const JobRunner& runner) {
  struct Stage {
    int tasks = 0, cached = 0;
    double seconds = 0;
  };
  std::map<std::string, Stage> stages;
  for (const auto& [label, task] : runner.tasks()) {
    Stage& stage = stages[label.substr(0, label.find('-'))];
    ++stage.tasks;
    stage.cached += task.cached ? 1 : 0;
    stage.seconds += task.seconds;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [kind, stage] : stages) {
    json[kind] = {{"tasks", stage.tasks}, {"cached", stage.cached}, {"seconds", stage.seconds}};
  }
  return json;
}

absl::Status PrintResult(const JobRunner& runner, const QuantizeFlags& flags, LocalBlobStore& blobs,
                         const Digest& manifest) {
  nlohmann::ordered_json result = {
      {"artifact", flags.out}, {"manifest_sha256", manifest.sha256}, {"stages", StageTimes(runner)}};
  if (absl::StatusOr<Digest> scores = runner.Output("publish", "scores"); scores.ok()) {
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(*scores));
    result["scores"] = nlohmann::ordered_json::parse(blob.bytes().begin(), blob.bytes().end());
  }
  std::cout << result.dump(2) << "\n";
  return absl::OkStatus();
}

// What the job would need, as JSON; nothing is computed.
absl::Status PrintEstimate(const ResolvedJob& job, const ModelSources& models) {
  ASSIGN_OR_RETURN(const ModelInput model, OpenModelInput(job.spec.model_uri, models));
  ASSIGN_OR_RETURN(const JobEstimate needs, EstimateNeeds(job, KeptTensors(job.model, *model.checkpoint)));
  nlohmann::ordered_json tasks = nlohmann::ordered_json::object();
  for (const auto& [kind, stage] : needs.stages) tasks[std::string(TaskKindName(kind))] = stage.tasks;
  const nlohmann::ordered_json estimate = {{"original_bytes", job.original_bytes},
                                           {"minimum_bytes", job.sizes.minimum_bytes},
                                           {"maximum_bytes", job.sizes.maximum_bytes},
                                           {"predicted_bytes", needs.predicted_bytes},
                                           {"bytes_exact", needs.bytes_exact},
                                           {"worker_memory_bytes", needs.worker_memory_bytes},
                                           {"calibration_tokens", needs.calibration_tokens},
                                           {"tokens_per_expert", needs.tokens_per_expert},
                                           {"tasks", std::move(tasks)},
                                           {"warnings", needs.warnings}};
  std::cout << estimate.dump(2) << "\n";
  return absl::OkStatus();
}

absl::Status QuantizeIn(const std::string& work_dir, const QuantizeFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(work_dir + "/blobs"));
  ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(flags, UserData{models, *blobs}));
  ASSIGN_OR_RETURN(const ResolvedJob job, OpenJob(std::move(spec), models));
  if (flags.estimate) return PrintEstimate(job, models);
  JobRunner runner(job, *blobs, work_dir, models);
  RETURN_IF_ERROR(runner.Run(Report));
  ASSIGN_OR_RETURN(const Digest manifest, runner.Output("publish", "manifest"));
  RETURN_IF_ERROR(MaterialiseArtifact(*blobs, manifest, flags.out).status());
  if (!flags.table.empty()) {
    ASSIGN_OR_RETURN(const Digest table, runner.Output("allocate", "table"));
    ASSIGN_OR_RETURN(const MappedFile blob, blobs->Open(table));
    RETURN_IF_ERROR(WriteUserFile(flags.table, std::string(blob.bytes())));
  }
  return PrintResult(runner, flags, *blobs, manifest);
}

bool HoldsResults(const std::string& work_dir) {
  std::error_code error;
  return !std::filesystem::is_empty(work_dir + "/results", error) && !error;
}

// A work directory of our own choice stays only where another try can go on from it.
absl::Status Quantize(const QuantizeFlags& flags, const ModelSources& models) {
  const std::string work_dir = flags.work_dir.empty() ? flags.out + ".work" : flags.work_dir;
  const absl::Status status = QuantizeIn(work_dir, flags, models);
  if (flags.work_dir.empty() && (status.ok() || !HoldsResults(work_dir))) {
    std::error_code ignored;
    std::filesystem::remove_all(work_dir, ignored);
  }
  return status;
}

}  // namespace

void AddQuantize(CLI::App& app, Run& run) {
  auto* command =
      app.add_subcommand("quantize", "Runs a whole job in this process; same bytes as the service.");
  auto flags = std::make_shared<QuantizeFlags>();
  command->add_option("--model", flags->model, "model directory or URI")->required();
  AddPlanFlags(*command, flags->plan);
  command->add_option("--out", flags->out, "directory of the artifact")->required();
  command->add_option("--group-size", flags->spec.gptq.group_size, "32, 64 or 128; 0: the largest that fits");
  command->add_option("--widths", flags->spec.gptq.widths, "candidate widths, e.g. 2,3,4,8")->delimiter(',');
  command->add_option("--damp", flags->spec.gptq.damp, "share of the mean diagonal that is added to it");
  command->add_option("--order", flags->order, "of columns: natural, activation or group");
  command->add_flag("--no-scale-search", flags->no_scale_search, "full-range scales");
  command->add_option("--min-tokens-ratio", flags->spec.gptq.min_tokens_ratio,
                      "fewer tokens than this share of the width: round");
  command->add_option("--max-fallback-ratio", flags->spec.gptq.max_fallback_ratio,
                      "more fallbacks than this share: fail");
  command->add_flag("--gate-weighted", flags->spec.gptq.gate_weighted,
                    "tokens count for an expert by the square of their router weight");
  command->add_option("--shrinkage", flags->spec.gptq.shrinkage,
                      "pull of a cold expert's Hessian toward its layer's, in tokens a channel");
  command->add_option("--all-tokens", flags->spec.gptq.all_tokens,
                      "PATTERN: experts that all tokens of their layer calibrate, routed or not");
  command->add_option("--propagation", flags->propagation,
                      "original: all layers at once; quantized: each layer on the output of quantized ones");
  command->add_option("--correction", flags->spec.gptq.correction,
                      "quantized propagation: share of the inputs' drift that weights make up for, 0 to 1");
  command->add_option("--refine-rounds", flags->spec.refinement.rounds,
                      "rounds of a search that keeps what measures better on held-out text; 0: none");
  command->add_option("--refine-trials", flags->spec.refinement.trials, "plans that a round measures; 0: 16");
  command->add_option("--calibration", flags->calibration,
                      "text, or rows with a field `text` (JSON lines, Parquet): a file "
                      "or\nhf://datasets/owner/name@revision/path; default: the shipped prose");
  command->add_option("--samples", flags->spec.calibration.samples, "calibration sequences");
  command->add_option("--sequence-length", flags->spec.calibration.sequence_length,
                      "tokens of each; 0: min(2048, context)");
  command->add_option("--states", flags->states, "type of activations between tasks: f32 or bf16");
  command->add_option("--shard-sequences", flags->spec.calibration.shard_sequences, "sequences of one shard");
  command->add_option("--text", flags->text,
                      "perplexity text, likewise; default: the shipped held-out prose");
  command->add_option("--window", flags->spec.evaluation.window,
                      "tokens of a perplexity window; 0: min(2048, context)");
  command->add_option("--task", flags->tasks,
                      "benchmark items, JSON lines or Parquet, NAME=FILE or NAME=hf://datasets/...");
  command->add_option("--fewshot", flags->fewshot, "items for few-shot prompts, NAME=FILE");
  command->add_option("--limit", flags->limit, "only the first so many items of each task")
      ->check(CLI::PositiveNumber);
  command->add_flag("--add-bos", flags->add_bos,
                    "put the beginning-of-sequence token before texts and prompts");
  command->add_flag("--no-add-bos", flags->no_add_bos, "never put it")->excludes("--add-bos");
  command->add_flag("--no-evaluation", flags->spec.evaluation.skip, "skip the measurement");
  command->add_option("--work-dir", flags->work_dir,
                      "keep results here and go on from them; default: beside --out, removed at the end");
  command->add_flag("--estimate", flags->estimate, "only say what the job would need, as JSON");
  command->add_option("--table", flags->table, "also write the distortion table here, for `allocate`");
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return Quantize(*flags, models); }; });
}

}  // namespace quantmoe
