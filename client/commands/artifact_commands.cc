// artifact list, show, download, verify.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "cli/command_files.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/resource_text.h"
#include "client/transfer/download.h"
#include "client/verify/artifact_check.h"
#include "client/verify/weight_check.h"

namespace quantmoe {
namespace {

struct ArtifactFlags {
  std::string job;
  std::string out;
  bool overwrite = false;
};

// "artifacts/x" for x, jobs/x and artifacts/x.
std::string ArtifactName(const std::string& job) {
  return ResourceName("artifacts", job.rfind("jobs/", 0) == 0 ? job.substr(5) : job);
}

absl::StatusOr<v1::Artifact> ReadArtifact(const Connection& connection, const std::string& job) {
  v1::GetArtifactRequest request;
  request.set_name(ArtifactName(job));
  return connection.CallWithRetry(connection.artifacts(), &v1::ArtifactService::Stub::GetArtifact, request);
}

absl::StatusOr<int> List(CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListArtifactsResponse all,
                   connection->ListAll(connection->artifacts(), &v1::ArtifactService::Stub::ListArtifacts,
                                       v1::ListArtifactsRequest()));
  context.Print(all, RenderArtifacts(all));
  return kExitOk;
}

absl::StatusOr<int> Show(CommandContext& context, const ArtifactFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::Artifact artifact, ReadArtifact(*connection, flags.job));
  context.Print(artifact, RenderArtifact(artifact));
  return kExitOk;
}

absl::StatusOr<int> Download(CommandContext& context, const ArtifactFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::Artifact artifact, ReadArtifact(*connection, flags.job));
  DownloadOptions options;
  const std::string id = std::filesystem::path(artifact.name()).filename().string();
  options.directory = flags.out.empty() ? id : flags.out;
  options.overwrite = flags.overwrite;
  options.on_interrupted = [&context](const std::string& staging) {
    context.err << "what was downloaded is kept in " << staging << ": the same command goes on with it"
                << std::endl;
  };
  if (!context.json) {
    options.on_file = [&context](const v1::ArtifactFile& file, bool kept) {
      context.out << (kept ? "kept        " : "downloaded  ") << Printable(file.path()) << std::endl;
    };
  }
  if (options.directory.empty()) return absl::DataLossError("the artifact has no name; give --out");
  RETURN_IF_ERROR(DownloadArtifact(*connection, artifact, options));
  context.Print(artifact, absl::StrCat("artifact in ", options.directory, "\n"));
  return kExitOk;
}

const char* ResultName(FileCheck::Result result) {
  switch (result) {
    case FileCheck::Result::kOk:
      return "ok";
    case FileCheck::Result::kDamaged:
      return "damaged";
    case FileCheck::Result::kMissing:
      return "missing";
  }
  return "";
}

// The weights can be checked where the manifest lists the configuration that explains them.
std::vector<WeightProblem> ProblemsOf(const std::string& directory, const std::vector<FileCheck>& checks) {
  const bool explained = std::any_of(checks.begin(), checks.end(),
                                     [](const FileCheck& check) { return check.path == "config.json"; });
  return explained ? CheckWeights(directory) : std::vector<WeightProblem>();
}

std::string ProblemText(const WeightProblem& problem) {
  const std::string tensor = problem.tensor.empty() ? "" : absl::StrCat(problem.tensor, ": ");
  return absl::StrCat(Printable(problem.file), ": ", Printable(absl::StrCat(tensor, problem.what)), "\n");
}

absl::StatusOr<int> Verify(CommandContext& context, const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<FileCheck> checks, CheckArtifact(directory));
  const std::vector<WeightProblem> problems = ProblemsOf(directory, checks);
  TextTable table({{""}, {""}});
  auto json = nlohmann::ordered_json{{"files", nlohmann::ordered_json::array()},
                                     {"problems", nlohmann::ordered_json::array()}};
  for (const FileCheck& check : checks) {
    table.AddRow({ResultName(check.result), check.path});
    json["files"].push_back({{"path", check.path}, {"result", ResultName(check.result)}});
  }
  std::string text;
  for (const WeightProblem& problem : problems) {
    text += ProblemText(problem);
    json["problems"].push_back(
        {{"file", problem.file}, {"tensor", problem.tensor}, {"problem", problem.what}});
  }
  const bool ok = problems.empty() && std::all_of(checks.begin(), checks.end(), [](const FileCheck& check) {
                    return check.result == FileCheck::Result::kOk;
                  });
  json["ok"] = ok;
  if (context.json) {
    context.out << json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else {
    context.out << table.Render() << text << (ok ? "the artifact is intact\n" : "the artifact is DAMAGED\n");
  }
  return ok ? kExitOk : kExitFailed;
}

}  // namespace

void AddArtifactCommands(cli::Command app, CommandContext& context) {
  const auto flags = std::make_shared<ArtifactFlags>();
  cli::Command group = app.AddCommand("artifact", "Published artifacts");
  group.RequireCommand();
  AddCommand(group, context, "list", "List artifacts, newest first", [&context] { return List(context); });
  cli::Command show = AddCommand(group, context, "show", "Show an artifact and its files",
                                 [&context, flags] { return Show(context, *flags); });
  cli::Command download =
      AddCommand(group, context, "download", "Download an artifact and check every digest",
                 [&context, flags] { return Download(context, *flags); });
  for (cli::Command command : {show, download}) {
    command.Add("job", flags->job, "Id or name of the job").Required().Type("JOB");
  }
  download.Add("--out", flags->out, "A new or empty directory; one named as the job by default")
      .Type(kOutputFolder);
  download.AddSwitch("--overwrite,--force", flags->overwrite, "Replace an earlier artifact at --out");
  cli::Command verify = AddCommand(group, context, "verify",
                                   "Check an artifact against its manifest, and its weights against its plan",
                                   [&context, flags] { return Verify(context, flags->out); });
  verify.Add("directory", flags->out, "Directory with artifact.json").Required().Type("DIR");
}

}  // namespace quantmoe
