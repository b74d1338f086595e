#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/job_flags.h"
#include "local/job_runner.h"
#include "local/model_input.h"
#include "storage/artifact_directory.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

struct CompareFlags {
  JobFlags job;
  std::vector<std::string> heuristics = {"optimal", "uniform"};  // NAME[:KEY=VALUE]...
  std::vector<std::string> budgets;
  std::string out;
};

struct Case {
  std::string heuristic, budget, folder;
  ResolvedJob job;
};

// All jobs, so that a mistake in the last one is found before the first one runs.
absl::StatusOr<std::vector<Case>> MakeCases(const CompareFlags& flags, const ModelSources& models,
                                            LocalBlobStore& blobs) {
  std::vector<Case> cases;
  for (const std::string& budget : flags.budgets) {
    for (const std::string& heuristic : flags.heuristics) {
      const std::vector<std::string> parts = absl::StrSplit(heuristic, ':');
      JobFlags one = flags.job;
      one.plan.heuristic = parts.front();
      one.plan.params.assign(parts.begin() + 1, parts.end());
      one.plan.budget = budget;
      const std::string folder = absl::StrReplaceAll(absl::StrCat(heuristic, "-", budget), {{":", "-"}});
      ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(one, models, blobs));
      absl::StatusOr<ResolvedJob> job = OpenJob(std::move(spec), models);
      if (!job.ok()) return Annotate(job.status(), absl::StrCat(heuristic, " at ", budget));
      cases.push_back({heuristic, budget, absl::StrCat(flags.out, "/", folder), *std::move(job)});
    }
  }
  return cases;
}

absl::StatusOr<Json> ReadDocument(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile(path));
  absl::StatusOr<Json> document = ParseOrderedJson(text);
  return document.ok() ? std::move(document) : Annotate(document.status(), path);
}

// The change of the perplexity in a comparison of two sets of weights; null where there is none.
Json PerplexityChange(const Json& comparison) {
  if (!comparison.is_object()) return nullptr;
  for (const Json& score : comparison.at("scores")) {
    if (score.at("task") == "perplexity") return score;
  }
  return nullptr;
}

// What a finished artifact says of its plan; docs/formats.md, section 4.
absl::StatusOr<Json> ReadFigures(const Case& one) {
  ASSIGN_OR_RETURN(const Json plan, ReadDocument(one.folder + "/quantmoe_plan.json"));
  Json row = {{"heuristic", one.heuristic},
              {"budget", one.budget},
              {"artifact", one.folder},
              {"average_bits", plan.at("average_bits")},
              {"weight_file_bytes", plan.at("weight_file_bytes")}};
  if (!std::filesystem::exists(one.folder + "/quantmoe_scores.json")) return row;
  ASSIGN_OR_RETURN(const Json scores, ReadDocument(one.folder + "/quantmoe_scores.json"));
  row["comparison"] = scores.at("comparison");
  row["reference"] = scores.value("reference", Json());
  row["verdict"] = scores.value("verdict", Json());
  return row;
}

absl::StatusOr<Json> RunCase(const Case& one, const std::string& work_dir, const ModelSources& models,
                             LocalBlobStore& blobs) {
  JobRunner runner(one.job, blobs, work_dir, models);
  RETURN_IF_ERROR(runner.Run([&one](const std::string& label, size_t done, size_t total) {
    std::cerr << absl::StrCat(one.heuristic, " ", one.budget, ": [", done, "/", total, "] ", label, "\n");
  }));
  ASSIGN_OR_RETURN(const Digest manifest, runner.Output("publish", "manifest"));
  RETURN_IF_ERROR(MaterialiseArtifact(blobs, manifest, one.folder).status());
  return ReadFigures(one);
}

std::string ChangeCell(const Json& change) {
  if (!change.is_object()) return "";
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", change.at("difference").get<double>(),
                         change.at("interval").at(0).get<double>(),
                         change.at("interval").at(1).get<double>());
}

std::string MarkdownRow(const Json& row) {
  const Json change = PerplexityChange(row.value("comparison", Json()));
  const Json reference = row.value("reference", Json()), verdict = row.value("verdict", Json());
  return absl::StrFormat(
      "| %s | %s | %.3f | %d | %s | %s | %s | %s |\n", row.at("budget").get<std::string>(),
      row.at("heuristic").get<std::string>(), row.at("average_bits").get<double>(),
      row.at("weight_file_bytes").get<int64_t>(),
      change.is_object() ? absl::StrFormat("%.3f", change.at("after").get<double>()) : "", ChangeCell(change),
      reference.is_object() ? ChangeCell(PerplexityChange(reference.at("comparison"))) : "",
      verdict.is_object() ? verdict.at("recommends").get<std::string>() : "");
}

absl::Status Compare(const CompareFlags& flags, const ModelSources& models) {
  const std::string work_dir = flags.out + "/work";
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(work_dir + "/blobs"));
  ASSIGN_OR_RETURN(const std::vector<Case> cases, MakeCases(flags, models, *blobs));
  Json rows = Json::array();
  std::string table =
      "| budget | heuristic | bits | bytes | perplexity | from the original, 95 % | from uniform, 95 % | "
      "better "
      "|\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const Case& one : cases) {
    absl::StatusOr<Json> row = RunCase(one, work_dir, models, *blobs);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat(one.heuristic, " at ", one.budget));
    table += MarkdownRow(*row);
    rows.push_back(*std::move(row));
  }
  RETURN_IF_ERROR(WriteUserFile(flags.out + "/comparison.json", rows.dump(2) + "\n"));
  RETURN_IF_ERROR(WriteUserFile(flags.out + "/comparison.md", table));
  std::cout << table;
  return absl::OkStatus();
}

}  // namespace

void AddCompare(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "compare", "Runs heuristics x budgets on one model, solved once, and prints what each is worth.");
  auto flags = std::make_shared<CompareFlags>();
  AddJobFlags(*command, flags->job);
  command
      ->add_option("--heuristics", flags->heuristics,
                   "NAME or NAME:KEY=VALUE..., such as optimal,random:seed=1")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--bits,--budgets", flags->budgets,
                   "average bits (2.5) or bytes of the weight files (400MB)")
      ->delimiter(',')
      ->required();
  command
      ->add_option("--out", flags->out,
                   "directory of the artifacts, comparison.json and .md; a stopped run goes on there")
      ->required();
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return Compare(*flags, models); }; });
}

}  // namespace quantmoe
