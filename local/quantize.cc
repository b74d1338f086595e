#include <iostream>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/job_flags.h"
#include "local/job_runner.h"
#include "local/model_input.h"
#include "local/work_end.h"
#include "plan/graph/job_estimate.h"
#include "plan/model/tensor_views.h"
#include "quant/device/torch_guard.h"
#include "storage/artifact_directory.h"
#include "storage/output_directory.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

struct QuantizeFlags {
  JobFlags job;
  std::string out, work_dir, table;
  bool overwrite = false, estimate = false;
};

// Where everything goes, decided before any work.
struct Places {
  std::string out;   // empty for an estimate
  std::string work;  // beside --out, or --work-dir
};

absl::StatusOr<Places> DecidePlaces(const QuantizeFlags& flags, const ModelSources& models) {
  OutputRules rules{
      .flag = "--out", .overwrite = flags.overwrite, .apart_from = FoldersReadFor(flags.job.model, models)};
  RETURN_IF_ERROR(
      CheckOutputFile(flags.table, "--table", rules.apart_from, {flags.job.calibration, flags.job.text}));
  const bool own_work = flags.work_dir.empty();
  Places places;
  ASSIGN_OR_RETURN(places.work, CheckWorkPath(own_work ? NormalPath(flags.out) + ".work" : flags.work_dir,
                                              {.flag = own_work ? "--out" : "--work-dir",
                                               .overwrite = false,
                                               .apart_from = rules.apart_from}));
  if (flags.estimate) return places;
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
  if (absl::StatusOr<Digest> scores = runner.Output(kPublishLabel, "scores"); scores.ok()) {
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(*scores));
    result["scores"] = ParseOrderedJson(blob.bytes()).value_or(nullptr);
  }
  std::cout << result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
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

absl::Status QuantizeIn(const Places& places, const QuantizeFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(places.work + "/blobs"));
  ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(flags.job, models, *blobs));
  ASSIGN_OR_RETURN(const ResolvedJob job, OpenJob(std::move(spec), models));
  if (flags.estimate) return PrintEstimate(job, models);
  JobRunner runner(job, *blobs, places.work, models);
  RETURN_IF_ERROR(runner.Run(Report));
  ASSIGN_OR_RETURN(const Digest manifest, runner.Output(kPublishLabel, "manifest"));
  // First, so that the artifact is not in the way of another try.
  if (!flags.table.empty()) {
    ASSIGN_OR_RETURN(const Digest table, runner.Output(kAllocateLabel, "table"));
    ASSIGN_OR_RETURN(const MappedFile blob, blobs->Open(table));
    RETURN_IF_ERROR(WriteOutputFile(flags.table, std::string(blob.bytes())));
  }
  RETURN_IF_ERROR(MaterialiseArtifact(*blobs, manifest, places.out, flags.overwrite).status());
  return PrintResult(runner, flags, *blobs, manifest);
}

absl::Status Quantize(const QuantizeFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const Places places, DecidePlaces(flags, models));
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(places.work, WorkDirectory::Use::kShared));
  const absl::Status status = RunGuarded("quantize", [&] { return QuantizeIn(places, flags, models); });
  // An estimate leaves what a run is to go on with.
  const bool done = !flags.estimate || !HoldsResults(work);
  EndWork(work, flags.work_dir.empty() && done, status);
  return status;
}

}  // namespace

void AddQuantize(CLI::App& app, Run& run) {
  auto* command =
      app.add_subcommand("quantize", "Runs a whole job in this process; same bytes as the service.");
  auto flags = std::make_shared<QuantizeFlags>();
  AddPlanFlags(*command, flags->job.plan);
  AddJobFlags(*command, flags->job);
  command->add_option("--out", flags->out, "directory of the artifact: a new name or an empty folder")
      ->type_name("DIR")
      ->required();
  command->add_flag("--overwrite", flags->overwrite,
                    "replace an earlier artifact at --out, which stays until the new one is complete");
  command
      ->add_option("--work-dir", flags->work_dir,
                   "keep results here and go on from them; default: beside --out, removed at the end")
      ->type_name("DIR");
  command->add_flag("--estimate", flags->estimate, "only say what the job would need, as JSON");
  command->add_option("--table", flags->table, "also write the distortion table here, for `allocate`")
      ->type_name("FILE");
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return Quantize(*flags, models); }; });
}

}  // namespace quantmoe
