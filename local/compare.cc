#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "cli/compare_flags.h"
#include "cli/comparison.h"
#include "local/commands.h"
#include "local/job_runner.h"
#include "local/make_spec.h"
#include "local/model_input.h"
#include "local/warnings.h"
#include "local/work_end.h"
#include "plan/allocate/loss.h"
#include "plan/graph/job_estimate.h"
#include "plan/options/spec_json.h"
#include "quant/device/torch_guard.h"
#include "storage/artifact_directory.h"
#include "storage/output_directory.h"
#include "storage/whole_file.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

struct CompareFlags {
  cli::CompareFlags compared;
  std::string out;
  bool overwrite = false;
};

struct Case {
  ComparedJob compared;
  std::string budget;  // with its unit, but for average bits: "2.5", "2.5 stored"
  std::string folder;
  ResolvedJob job;
  Json measured = nullptr;                                   // the scores of its artifact; null: none
  std::map<std::string, std::map<int, double>> losses = {};  // as Comparison::losses; empty: not weighed

  std::string Title() const { return absl::StrCat(compared.heuristic, " at ", budget); }
};

// Whether `folder` has the artifact that an earlier run of the same comparison made.
bool IsResultOf(const std::string& folder, const ResolvedJob& job) {
  const absl::StatusOr<std::string> text =
      ReadWholeFile(absl::StrCat(folder, "/", kManifestName), kMaxDataBytes);
  if (!text.ok()) return false;
  const absl::StatusOr<nlohmann::json> manifest = ParseJson(*text, kSmallJson);
  nlohmann::json spec = OwnJson(JobSpecToJson(job.spec));
  spec.erase("model_uri");
  return manifest.ok() && manifest->is_object() && manifest->value("spec", nlohmann::json()) == spec &&
         manifest->value("model_digest", nlohmann::json()) == job.model_digest;
}

// The folder of the comparison is a working folder: new, empty, or of an earlier run. `work` in it is
// another, which a run that was stopped goes on with.
absl::StatusOr<std::string> DecideOut(const std::string& out, const std::string& model_uri,
                                      const ModelSources& models) {
  return CheckWorkPath(
      out, {.flag = "--out", .overwrite = false, .apart_from = FoldersReadFor(model_uri, models)});
}

// Before the first of them is computed.
absl::Status CheckFolders(const std::vector<Case>& cases, bool overwrite) {
  for (const Case& one : cases) {
    const OutputRules rules{.flag = "--out", .overwrite = overwrite || IsResultOf(one.folder, one.job)};
    RETURN_IF_ERROR(CheckOutputDirectory(one.folder, rules).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<Case> MakeCase(const cli::ComparedSpec& spec, const std::string& out, const JobModel& model,
                              JobData& data) {
  Case made{
      .compared = {}, .budget = std::string(absl::StripSuffix(spec.title, " bits")), .folder = {}, .job = {}};
  made.compared.heuristic = spec.heuristic;
  made.compared.budget = spec.title;
  const std::string folder =
      absl::StrReplaceAll(absl::StrCat(spec.heuristic, "-", made.budget), {{":", "-"}, {" ", "-"}});
  made.folder = absl::StrCat(out, "/", folder);
  ASSIGN_OR_RETURN(JobSpec full, MakeSpec(spec.input, data));
  absl::StatusOr<ResolvedJob> job = ResolveJob(std::move(full), model);
  if (!job.ok()) return Annotate(job.status(), made.Title());
  made.job = *std::move(job);
  return made;
}

// All jobs, so that a mistake in the last one is found before the first one runs. They share the model.
absl::StatusOr<std::vector<Case>> MakeCases(const std::vector<cli::ComparedSpec>& specs,
                                            const std::string& out, const ModelSources& models,
                                            LocalBlobStore& blobs) {
  ASSIGN_OR_RETURN(const JobModel model, OpenJobModel(specs.front().input.spec.model_uri, models));
  JobData data(models, &blobs);
  std::vector<Case> cases;
  for (const cli::ComparedSpec& spec : specs) {
    ASSIGN_OR_RETURN(Case made, MakeCase(spec, out, model, data));
    cases.push_back(std::move(made));
  }
  return cases;
}

// What the finished artifact says of its plan.
absl::Status ReadFigures(Case& one) {
  ASSIGN_OR_RETURN(const std::string plan, ReadWholeFile(one.folder + "/quantmoe_plan.json", kMaxDataBytes));
  std::string scores;
  if (std::filesystem::exists(one.folder + "/quantmoe_scores.json")) {
    ASSIGN_OR_RETURN(scores, ReadWholeFile(one.folder + "/quantmoe_scores.json", kMaxDataBytes));
    ASSIGN_OR_RETURN(one.measured, ParseOrderedJson(scores));
  }
  const absl::Status read = ReadArtifactFigures(plan, scores, one.compared);
  return read.ok() ? read : Annotate(read, one.folder);
}

// What the job's table says of every linear at every width, where its plan weighs them.
absl::Status ReadLosses(const JobRunner& runner, LocalBlobStore& blobs, Case& one) {
  if (one.job.spec.heuristic != kOptimalHeuristic) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Digest digest, runner.graph().OutputOf(kAllocateLabel, "table"));
  ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(blob.bytes()));
  const Objective objective = ParseObjective(one.compared.objective);
  for (const TableRow& row : SortRows(table)) {
    for (const auto& [width, facts] : row.row->widths)
      one.losses[row.row->linear.name][width] = Loss(row, width, objective);
  }
  return absl::OkStatus();
}

// What several of them would do that may not be meant is said once.
void PrintWarningsOf(const std::vector<Case>& cases) {
  std::vector<std::string> warnings;
  for (const Case& one : cases) {
    for (const std::string& warning : EstimateWork(one.job).warnings) {
      if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) warnings.push_back(warning);
    }
  }
  PrintWarnings(warnings);
}

absl::Status RunCase(Case& one, const std::string& work_dir, const ModelSources& models,
                     const ComputeDevice& device, LocalBlobStore& blobs) {
  JobRunner runner(one.job, blobs, work_dir, models, device);
  RETURN_IF_ERROR(runner.Run([&one](const std::string& label, size_t done, size_t total) {
    std::cerr << absl::StrCat(one.compared.heuristic, " ", one.budget, ": [", done, "/", total, "] ", label,
                              "\n");
  }));
  ASSIGN_OR_RETURN(const Digest manifest, runner.graph().OutputOf(kPublishLabel, "manifest"));
  RETURN_IF_ERROR(runner.WithWholeBlobs(
      [&] { return MaterialiseArtifact(blobs, manifest, one.folder, /*overwrite=*/true).status(); }));
  RETURN_IF_ERROR(ReadFigures(one));
  return runner.WithWholeBlobs([&] { return ReadLosses(runner, blobs, one); });
}

// docs/formats.md, section 4.
Json Row(const Case& one, const ComparedJob& job) {
  Json row = {{"heuristic", job.heuristic},
              {"budget", one.budget},
              {"width", job.width},
              {"artifact", one.folder},
              {"average_bits", job.average_bits},
              {"weight_file_bytes", job.weight_file_bytes},
              {"loss", job.loss},
              {"objective", job.objective}};
  if (one.measured.is_object()) {
    row["comparison"] = one.measured.at("comparison");
    row["reference"] = one.measured.value("reference", Json());
    row["verdict"] = one.measured.value("verdict", Json());
  }
  if (job.divergence) row["divergence"] = DivergenceJson(*job.divergence);
  row["plan"] = job.plan;
  row["best"] = job.best;
  if (job.against_uniform) row["reference_plan"] = ReferenceName(job);
  return row;
}

std::string ChangeCell(const std::optional<MeasuredChange>& change) {
  if (!change) return "";
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", change->after - change->before, change->low, change->high);
}

std::string MarkdownRow(const Case& one, const ComparedJob& job) {
  return absl::StrFormat("| %s | %s | %.3f | %d | %.5g | %s | %s | %s | %s | %s |\n", one.budget, job.plan,
                         job.average_bits, job.weight_file_bytes, job.loss,
                         job.perplexity ? absl::StrFormat("%.3f", job.perplexity->after) : "",
                         ChangeCell(job.perplexity), job.against_uniform ? ReferenceName(job) : "",
                         ChangeCell(job.against_uniform), job.verdict);
}

// What a mean hides: how far each plan is from the original model on unseen windows. Empty where nothing was
// measured.
std::string MarkdownTails(const std::vector<Case>& cases, const std::vector<ComparedJob>& jobs) {
  std::string rows;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!jobs[i].divergence) continue;
    const MeasuredDivergence& tails = *jobs[i].divergence;
    absl::StrAppend(&rows, absl::StrFormat("| %s | %s | %.4g | %.4g | %.4g | %.4g | %.4g | %d | %d of %d |\n",
                                           cases[i].budget, jobs[i].plan, tails.mean, tails.cvar,
                                           tails.worst_window, tails.percentile_99, tails.percentile_999,
                                           tails.broken_windows, tails.top1_flips, tails.tokens));
  }
  if (rows.empty()) return "";
  return "\n| budget | plan | mean divergence | worst tenth | worst window | 99 % of tokens | 99.9 % | "
         "broken "
         "windows | other first choice |\n|---|---|---|---|---|---|---|---|---|\n" +
         rows;
}

absl::Status Show(const std::vector<Case>& cases, const std::string& out) {
  Comparison comparison;
  for (const Case& one : cases) {
    comparison.jobs.push_back(one.compared);
    if (!comparison.losses.empty() || one.losses.empty()) continue;
    comparison.losses = one.losses;
    comparison.objective = one.compared.objective;
  }
  AlignLosses(comparison);
  NamePlans(comparison);
  MarkBest(comparison);
  Json rows = Json::array();
  std::string table =
      "| budget | plan | bits | bytes | predicted loss | perplexity | from the original, 95 % | reference | "
      "from the reference, 95 % | better |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n";
  for (size_t i = 0; i < cases.size(); ++i) {
    rows.push_back(Row(cases[i], comparison.jobs[i]));
    table += MarkdownRow(cases[i], comparison.jobs[i]);
  }
  table += MarkdownTails(cases, comparison.jobs);
  RETURN_IF_ERROR(WriteOutputFile(out + "/comparison.json", rows.dump(2) + "\n"));
  RETURN_IF_ERROR(WriteOutputFile(out + "/comparison.md", table));
  std::cout << table;
  return absl::OkStatus();
}

absl::Status CompareIn(const std::string& out, const std::vector<cli::ComparedSpec>& specs, bool overwrite,
                       const ModelSources& models, const ComputeDevice& device) {
  const std::string work_dir = out + "/work";
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(work_dir + "/blobs"));
  ASSIGN_OR_RETURN(std::vector<Case> cases, MakeCases(specs, out, models, *blobs));
  RETURN_IF_ERROR(CheckFolders(cases, overwrite));
  PrintWarningsOf(cases);
  for (Case& one : cases) {
    const absl::Status run = RunCase(one, work_dir, models, device, *blobs);
    if (!run.ok()) return Annotate(run, one.Title());
  }
  return Show(cases, out);
}

absl::Status Compare(const CompareFlags& flags, const ModelSources& models, const ComputeDevice& device) {
  ASSIGN_OR_RETURN(const std::vector<cli::ComparedSpec> specs,
                   cli::ReadComparedSpecs(flags.compared, cli::LeaveFile));
  ASSIGN_OR_RETURN(const std::string out, DecideOut(flags.out, specs.front().input.spec.model_uri, models));
  ASSIGN_OR_RETURN(WorkDirectory folder, WorkDirectory::Open(out, WorkDirectory::Use::kAlone));
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(out + "/work", WorkDirectory::Use::kAlone));
  absl::Status status =
      RunGuarded("compare", [&] { return CompareIn(out, specs, flags.overwrite, models, device); });
  if (status.ok()) return status;
  // Nothing is left of a comparison that was refused before it computed anything.
  if (!EndWork(work, /*own=*/true, status)) RETURN_IF_ERROR(folder.Remove());
  return status;
}

}  // namespace

void AddCompare(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "compare", "Runs heuristics x budgets on one model, solved once, and prints what each is worth.");
  auto flags = std::make_shared<CompareFlags>();
  cli::AddCompareFlags(command, flags->compared);
  command
      .Add("--out", flags->out,
           "directory of the artifacts, comparison.json and .md; a stopped run goes on there")
      .Required()
      .Type(kOutputFolder);
  command.AddSwitch("--overwrite", flags->overwrite,
                    "replace artifacts that an earlier comparison with other flags left in --out");
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice& device) {
      return Compare(*flags, models, device);
    };
  });
}

}  // namespace quantmoe
