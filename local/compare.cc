#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "base/uniform_label.h"
#include "cli/command_files.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "local/commands.h"
#include "local/job_runner.h"
#include "local/make_spec.h"
#include "local/model_input.h"
#include "local/work_end.h"
#include "plan/options/spec_json.h"
#include "quant/device/torch_guard.h"
#include "storage/artifact_directory.h"
#include "storage/output_directory.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

struct CompareFlags {
  cli::TypedFlags spec;
  std::vector<std::string> heuristics = {"optimal", "uniform"};  // NAME[:KEY=VALUE]...
  std::vector<std::string> budgets;
  std::string out;
  bool overwrite = false, no_control = false;
};

struct Case {
  std::string heuristic, budget, folder;
  ResolvedJob job;
};

// Whether `folder` has the artifact that an earlier run of the same comparison made.
bool IsResultOf(const std::string& folder, const ResolvedJob& job) {
  const absl::StatusOr<std::string> text = ReadUserFile(absl::StrCat(folder, "/", kManifestName));
  if (!text.ok()) return false;
  const absl::StatusOr<nlohmann::json> manifest = ParseJson(*text, kSmallJson);
  nlohmann::json spec = OwnJson(JobSpecToJson(job.spec));
  spec.erase("model_uri");
  return manifest.ok() && manifest->is_object() && manifest->value("spec", nlohmann::json()) == spec &&
         manifest->value("model_digest", nlohmann::json()) == job.model_digest;
}

// The folder of the comparison is a working folder: new, empty, or of an earlier run. `work` in it is
// another, which a run that was stopped goes on with.
absl::StatusOr<std::string> DecideOut(const CompareFlags& flags, const ModelSources& models) {
  return CheckWorkPath(flags.out, {.flag = "--out",
                                   .overwrite = false,
                                   .apart_from = FoldersReadFor(flags.spec.Text("--model"), models)});
}

// Before the first of them is computed.
absl::Status CheckFolders(const std::vector<Case>& cases, bool overwrite) {
  for (const Case& one : cases) {
    const OutputRules rules{.flag = "--out", .overwrite = overwrite || IsResultOf(one.folder, one.job)};
    RETURN_IF_ERROR(CheckOutputDirectory(one.folder, rules).status());
  }
  return absl::OkStatus();
}

bool Names(const std::vector<std::string>& heuristics, const std::string& name) {
  return std::any_of(heuristics.begin(), heuristics.end(),
                     [&](const std::string& one) { return one.substr(0, one.find(':')) == name; });
}

// With the control of equal bytes, where uniform plans are asked and none fills the budget.
std::vector<std::string> HeuristicsAt(const CompareFlags& flags, const std::string& budget,
                                      const std::vector<int>& widths) {
  std::vector<std::string> heuristics = flags.heuristics;
  int width = 0;
  const bool filled = absl::SimpleAtoi(absl::StripSuffix(budget, ".0"), &width) &&
                      (widths.empty() ? width == 2 || width == 3 || width == 4 || width == 8
                                      : std::count(widths.begin(), widths.end(), width) > 0);
  if (!flags.no_control && !filled && Names(heuristics, "uniform") && !Names(heuristics, kEqualBytesControl))
    heuristics.push_back(kEqualBytesControl);
  return heuristics;
}

// All jobs, so that a mistake in the last one is found before the first one runs.
absl::StatusOr<std::vector<Case>> MakeCases(const CompareFlags& flags, const std::string& out,
                                            const ModelSources& models, LocalBlobStore& blobs) {
  ASSIGN_OR_RETURN(const cli::SpecInput shared,
                   cli::ReadSpec(flags.spec, {.model = true, .budget = false}, cli::LeaveFile));
  std::vector<Case> cases;
  for (const std::string& budget : flags.budgets) {
    for (const std::string& heuristic : HeuristicsAt(flags, budget, shared.spec.gptq.widths)) {
      const std::vector<std::string> parts = absl::StrSplit(heuristic, ':');
      cli::TypedFlags one = flags.spec;
      one.Set("--heuristic", parts.front());
      if (parts.size() > 1) {
        std::vector<std::string>& params = one.texts["--param"];
        params.insert(params.end(), parts.begin() + 1, parts.end());
      }
      cli::SetBudgetFlag(budget, one);
      const std::string folder = absl::StrReplaceAll(absl::StrCat(heuristic, "-", budget), {{":", "-"}});
      ASSIGN_OR_RETURN(cli::SpecInput input, cli::ReadSpec(one, {}, cli::LeaveFile));
      ASSIGN_OR_RETURN(JobSpec spec, MakeSpec(std::move(input), models, &blobs));
      absl::StatusOr<ResolvedJob> job = OpenJob(std::move(spec), models);
      if (!job.ok()) return Annotate(job.status(), absl::StrCat(heuristic, " at ", budget));
      cases.push_back({heuristic, budget, absl::StrCat(out, "/", folder), *std::move(job)});
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

// The width of all linears of a plan, or 0.
int OneWidth(const Json& plan) {
  int width = 0;
  for (const Json& planned : plan.at("linears")) {
    const int bits = planned.at("bits").get<int>();
    if (width != 0 && bits != width) return 0;
    width = bits;
  }
  return width;
}

// What a finished artifact says of its plan; docs/formats.md, section 4.
absl::StatusOr<Json> ReadFigures(const Case& one) {
  ASSIGN_OR_RETURN(const Json plan, ReadDocument(one.folder + "/quantmoe_plan.json"));
  Json row = {{"heuristic", one.heuristic},
              {"budget", one.budget},
              {"width", OneWidth(plan)},
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
                             const ComputeDevice& device, LocalBlobStore& blobs) {
  JobRunner runner(one.job, blobs, work_dir, models, device);
  RETURN_IF_ERROR(runner.Run([&one](const std::string& label, size_t done, size_t total) {
    std::cerr << absl::StrCat(one.heuristic, " ", one.budget, ": [", done, "/", total, "] ", label, "\n");
  }));
  ASSIGN_OR_RETURN(const Digest manifest, runner.graph().OutputOf(kPublishLabel, "manifest"));
  RETURN_IF_ERROR(runner.WithWholeBlobs(
      [&] { return MaterialiseArtifact(blobs, manifest, one.folder, /*overwrite=*/true).status(); }));
  return ReadFigures(one);
}

std::string ChangeCell(const Json& change) {
  if (!change.is_object()) return "";
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", change.at("difference").get<double>(),
                         change.at("interval").at(0).get<double>(),
                         change.at("interval").at(1).get<double>());
}

// The name of each row's plan, as UniformLabel has it.
void NamePlans(Json& rows) {
  std::map<std::string, double> spent;  // by budget
  for (const Json& row : rows) {
    double& most = spent[row.at("budget").get<std::string>()];
    most = std::max(most, row.at("average_bits").get<double>());
  }
  for (Json& row : rows) {
    const double most = spent[row.at("budget").get<std::string>()];
    const std::string heuristic = row.at("heuristic").get<std::string>();
    row["plan"] = heuristic != "uniform"
                      ? heuristic
                      : UniformLabel(row.at("width").get<int>(), row.at("average_bits").get<double>(), most);
    const Json reference = row.value("reference", Json());
    if (!reference.is_object()) continue;
    const int bits = reference.at("bits").get<int>();
    row["reference_plan"] = UniformLabel(bits, bits, row.at("average_bits").get<double>());
  }
}

std::string MarkdownRow(const Json& row) {
  const Json change = PerplexityChange(row.value("comparison", Json()));
  const Json reference = row.value("reference", Json()), verdict = row.value("verdict", Json());
  return absl::StrFormat(
      "| %s | %s | %.3f | %d | %s | %s | %s | %s | %s |\n", row.at("budget").get<std::string>(),
      row.at("plan").get<std::string>(), row.at("average_bits").get<double>(),
      row.at("weight_file_bytes").get<int64_t>(),
      change.is_object() ? absl::StrFormat("%.3f", change.at("after").get<double>()) : "", ChangeCell(change),
      row.value("reference_plan", ""),
      reference.is_object() ? ChangeCell(PerplexityChange(reference.at("comparison"))) : "",
      verdict.is_object() ? verdict.at("recommends").get<std::string>() : "");
}

absl::Status CompareIn(const std::string& out, const CompareFlags& flags, const ModelSources& models,
                       const ComputeDevice& device) {
  const std::string work_dir = out + "/work";
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(work_dir + "/blobs"));
  ASSIGN_OR_RETURN(const std::vector<Case> cases, MakeCases(flags, out, models, *blobs));
  RETURN_IF_ERROR(CheckFolders(cases, flags.overwrite));
  Json rows = Json::array();
  for (const Case& one : cases) {
    absl::StatusOr<Json> row = RunCase(one, work_dir, models, device, *blobs);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat(one.heuristic, " at ", one.budget));
    rows.push_back(*std::move(row));
  }
  NamePlans(rows);
  std::string table =
      "| budget | plan | bits | bytes | perplexity | from the original, 95 % | reference | from the "
      "reference, "
      "95 % | better |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (const Json& row : rows) table += MarkdownRow(row);
  RETURN_IF_ERROR(WriteOutputFile(out + "/comparison.json", rows.dump(2) + "\n"));
  RETURN_IF_ERROR(WriteOutputFile(out + "/comparison.md", table));
  std::cout << table;
  return absl::OkStatus();
}

absl::Status Compare(const CompareFlags& flags, const ModelSources& models, const ComputeDevice& device) {
  ASSIGN_OR_RETURN(const std::string out, DecideOut(flags, models));
  ASSIGN_OR_RETURN(WorkDirectory folder, WorkDirectory::Open(out, WorkDirectory::Use::kAlone));
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(out + "/work", WorkDirectory::Use::kAlone));
  const absl::Status status = RunGuarded("compare", [&] { return CompareIn(out, flags, models, device); });
  if (status.ok()) return status;
  // Nothing is left of a comparison that was refused before it computed anything.
  if (!EndWork(work, /*own=*/true, status)) RETURN_IF_ERROR(folder.Remove());
  return status;
}

}  // namespace

void AddCompare(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "compare", "Runs heuristics x budgets on one model, solved once, and prints what each is worth.");
  auto flags = std::make_shared<CompareFlags>();
  cli::AddSpecFlags(*command, flags->spec,
                    {.model = cli::ModelFlag::kFlag, .job_file = false, .wants = cli::IsShared});
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
      ->required()
      ->type_name(kOutputFolder);
  command->add_flag(
      "--no-control", flags->no_control,
      "leave out in-order, the control of equal bytes that is added where no uniform plan fills a "
      "budget");
  command->add_flag("--overwrite", flags->overwrite,
                    "replace artifacts that an earlier comparison with other flags left in --out");
  command->callback([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice& device) {
      return Compare(*flags, models, device);
    };
  });
}

}  // namespace quantmoe
