#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/job_runner.h"
#include "local/make_spec.h"
#include "local/model_input.h"
#include "local/warnings.h"
#include "local/work_end.h"
#include "plan/graph/job_estimate.h"
#include "plan/options/spec_files.h"
#include "plan/options/spec_json.h"
#include "quant/device/torch_guard.h"
#include "storage/artifact_directory.h"
#include "storage/output_directory.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

struct QuantizeFlags {
  cli::TypedFlags spec;
  std::string out, work_dir, table;
  bool overwrite = false, estimate = false, dry_run = false;
};

// Where everything goes, decided before any work.
struct Places {
  std::string out;
  std::string work;  // beside --out, or --work-dir
};

absl::StatusOr<Places> DecidePlaces(const QuantizeFlags& flags, const JobSpec& spec,
                                    const ModelSources& models) {
  if (flags.out.empty()) return InvalidFields({{"--out", "is missing: say where the artifact goes"}});
  OutputRules rules{
      .flag = "--out", .overwrite = flags.overwrite, .apart_from = FoldersReadFor(spec.model_uri, models)};
  JobSpec files = spec;  // what a job file names is read too
  for (const SpecFile& file : FilesOf(files)) {
    const bool here = !file.uri->empty() && !absl::StrContains(*file.uri, "://");
    if (here)
      rules.apart_from.push_back({absl::StrCat("the file of ", file.uri_field), NormalPath(*file.uri)});
  }
  RETURN_IF_ERROR(CheckApart(flags.table, "--table", rules.apart_from));
  const bool own_work = flags.work_dir.empty();
  Places places;
  ASSIGN_OR_RETURN(places.work, CheckWorkPath(own_work ? NormalPath(flags.out) + ".work" : flags.work_dir,
                                              {.flag = own_work ? "--out" : "--work-dir",
                                               .overwrite = false,
                                               .apart_from = rules.apart_from}));
  RETURN_IF_ERROR(CheckApart(flags.table, "--table", {{"the working folder", places.work}}));
  rules.apart_from.push_back({"the working folder", places.work});
  ASSIGN_OR_RETURN(places.out, CheckOutputDirectory(flags.out, rules));
  return places;
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
  std::map<TaskKind, Stage> stages;
  for (const TaskNode& task : runner.graph().tasks()) {
    Stage& stage = stages[task.definition.kind];
    ++stage.tasks;
    stage.cached += task.cached ? 1 : 0;
    stage.seconds += runner.SecondsOf(task);
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [kind, stage] : stages) {
    json[std::string(TaskKindName(kind))] = {
        {"tasks", stage.tasks}, {"cached", stage.cached}, {"seconds", stage.seconds}};
  }
  return json;
}

absl::Status PrintResult(const JobRunner& runner, const QuantizeFlags& flags, LocalBlobStore& blobs,
                         const Digest& manifest) {
  nlohmann::ordered_json result = {
      {"artifact", flags.out}, {"manifest_sha256", manifest.sha256}, {"stages", StageTimes(runner)}};
  if (absl::StatusOr<Digest> scores = runner.graph().OutputOf(kPublishLabel, "scores"); scores.ok()) {
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(*scores));
    result["scores"] = ParseOrderedJson(blob.bytes()).value_or(nullptr);
  }
  std::cout << result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  return absl::OkStatus();
}

absl::Status WriteTable(const JobRunner& runner, const std::string& path, LocalBlobStore& blobs) {
  if (path.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Digest table, runner.graph().OutputOf(kAllocateLabel, "table"));
  ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(table));
  return WriteOutputFile(path, std::string(blob.bytes()));
}

// What the job would need; nothing is computed. Keys as the fields of the message Estimate.
absl::StatusOr<nlohmann::ordered_json> EstimateOf(const ResolvedJob& job) {
  ASSIGN_OR_RETURN(const JobEstimate needs, EstimateNeeds(job));
  nlohmann::ordered_json stages = nlohmann::ordered_json::object();
  for (const auto& [kind, stage] : needs.stages) stages[std::string(TaskKindName(kind))] = stage.tasks;
  return nlohmann::ordered_json{{"original_bytes", needs.original_bytes},
                                {"minimum_bytes", needs.sizes.minimum_bytes},
                                {"maximum_bytes", needs.sizes.maximum_bytes},
                                {"minimum_average_bits", needs.sizes.minimum_average_bits},
                                {"maximum_average_bits", needs.sizes.maximum_average_bits},
                                {"budget_bytes", needs.budget_bytes},
                                {"predicted_bytes", needs.predicted_bytes},
                                {"bytes_exact", needs.bytes_exact},
                                {"quantized_linears", needs.quantized_linears},
                                {"worker_memory_bytes", needs.worker_memory_bytes},
                                {"calibration_tokens", needs.calibration_tokens},
                                {"tokens_per_expert", needs.tokens_per_expert},
                                {"tasks", std::move(stages)},
                                {"warnings", needs.warnings}};
}

// The estimate, and before it with --dry-run the spec with every default filled in. Writes no file.
absl::Status PrintEstimate(const QuantizeFlags& flags, cli::SpecInput input, const ModelSources& models) {
  JobData data(models, /*blobs=*/nullptr);
  ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(std::move(input), data));
  ASSIGN_OR_RETURN(const ResolvedJob job, OpenJob(std::move(spec), models));
  ASSIGN_OR_RETURN(nlohmann::ordered_json estimate, EstimateOf(job));
  const nlohmann::ordered_json printed =
      flags.dry_run ? nlohmann::ordered_json{{"spec", OwnOrderedJson(JobSpecToJson(job.spec))},
                                             {"estimate", std::move(estimate)}}
                    : estimate;
  std::cout << printed.dump(2) << "\n";
  return absl::OkStatus();
}

absl::Status QuantizeIn(const Places& places, const QuantizeFlags& flags, const cli::SpecInput& input,
                        const ModelSources& models, const ComputeDevice& device) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(places.work + "/blobs"));
  JobData data(models, blobs.get());
  ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(input, data));
  ASSIGN_OR_RETURN(const ResolvedJob job, OpenJob(std::move(spec), models));
  PrintWarnings(EstimateWork(job).warnings);
  JobRunner runner(job, *blobs, places.work, models, device);
  RETURN_IF_ERROR(runner.Run(Report));
  ASSIGN_OR_RETURN(const Digest manifest, runner.graph().OutputOf(kPublishLabel, "manifest"));
  // First, so that the artifact is not in the way of another try.
  RETURN_IF_ERROR(runner.WithWholeBlobs([&] { return WriteTable(runner, flags.table, *blobs); }));
  RETURN_IF_ERROR(runner.WithWholeBlobs(
      [&] { return MaterialiseArtifact(*blobs, manifest, places.out, flags.overwrite).status(); }));
  return runner.WithWholeBlobs([&] { return PrintResult(runner, flags, *blobs, manifest); });
}

absl::Status Quantize(const QuantizeFlags& flags, const ModelSources& models, const ComputeDevice& device) {
  ASSIGN_OR_RETURN(const cli::SpecInput input, cli::ReadSpec(flags.spec, {}, cli::LeaveFile));
  if (flags.estimate || flags.dry_run) return PrintEstimate(flags, input, models);
  ASSIGN_OR_RETURN(const Places places, DecidePlaces(flags, input.spec, models));
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(places.work, WorkDirectory::Use::kShared));
  const absl::Status status =
      RunGuarded("quantize", [&] { return QuantizeIn(places, flags, input, models, device); });
  EndWork(work, flags.work_dir.empty(), status);
  return status;
}

}  // namespace

void AddQuantize(cli::Command app, Run& run) {
  cli::Command command =
      app.AddCommand("quantize", "Runs a whole job in this process; same bytes as the service.");
  auto flags = std::make_shared<QuantizeFlags>();
  cli::AddSpecFlags(command, flags->spec);
  command.Add("--out", flags->out, "directory of the artifact: a new name or an empty folder")
      .Type(kOutputFolder);
  command.AddSwitch("--overwrite", flags->overwrite,
                    "replace an earlier artifact at --out, which stays until the new one is complete");
  command
      .Add("--work-dir", flags->work_dir,
           "keep results here and go on from them; default: beside --out, removed at the end")
      .Type(kOutputFolder);
  command.AddSwitch("--estimate", flags->estimate, "only say what the job would need, as JSON");
  command.AddSwitch("--dry-run", flags->dry_run,
                    "the same, with the spec in which every default is filled in");
  command.Add("--table", flags->table, "also write the distortion table here, for `allocate`")
      .Type(kOutputFile);
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice& device) {
      return Quantize(*flags, models, device);
    };
  });
}

}  // namespace quantmoe
