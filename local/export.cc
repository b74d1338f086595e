#include "quant/artifact/export.h"

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/command_files.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "local/work_end.h"
#include "plan/allocate/runtime_profile.h"
#include "quant/device/torch_guard.h"
#include "storage/artifact_directory.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"
#include "storage/output_directory.h"
#include "storage/whole_file.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

struct ExportFlags {
  std::string artifact, out;
  std::string format = "gptq", profile = "any";
  bool overwrite = false, estimate = false;
};

struct Places {
  std::string out, work;
};

absl::StatusOr<Places> DecidePlaces(const ExportFlags& flags, const ModelSources& models) {
  if (flags.out.empty()) return InvalidFields({{"--out", "is missing: say where the export goes"}});
  OutputRules rules{
      .flag = "--out", .overwrite = flags.overwrite, .apart_from = FoldersReadFor(flags.artifact, models)};
  for (ReadFolder& folder : rules.apart_from) {
    if (folder.what == "the model") folder.what = "the artifact that is exported";
  }
  Places places;
  ASSIGN_OR_RETURN(places.out, CheckOutputDirectory(flags.out, rules));
  ASSIGN_OR_RETURN(places.work, CheckWorkPath(places.out + ".work", rules));
  return places;
}

// The manifest of an export that is written already, where all its files are still there.
std::optional<Digest> FindWritten(const std::string& kept, LocalBlobStore& blobs) {
  const absl::StatusOr<std::string> text = ReadWholeFile(kept, kMaxDataBytes);
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(*text, ' ');
  Digest manifest{parts.front()};
  if (parts.size() != 2 || !absl::SimpleAtoi(parts.back(), &manifest.size_bytes)) return std::nullopt;
  const absl::StatusOr<MappedFile> bytes = blobs.Open(manifest);
  if (!bytes.ok()) return std::nullopt;
  const absl::StatusOr<std::vector<ArtifactFile>> files = ParseArtifactManifest(bytes->bytes());
  if (!files.ok()) return std::nullopt;
  for (const ArtifactFile& file : *files) {
    if (!blobs.Contains(file.digest).value_or(false)) return std::nullopt;
  }
  return manifest;
}

// Writes the blobs of an export, unless a run whose end failed has done so.
absl::StatusOr<Digest> WriteOnce(const PublishedArtifact& artifact, const ExportLayout& layout,
                                 const std::string& work_dir, LocalBlobStore& blobs) {
  const std::string key = DigestOf(absl::StrCat(artifact.manifest_sha256(), " ", layout.format.stored.name,
                                                " ", layout.plan.profile, " ", kProgramVersion))
                              .sha256;
  const std::string kept = absl::StrCat(work_dir, "/results/", key);
  if (const std::optional<Digest> written = FindWritten(kept, blobs)) return *written;
  ASSIGN_OR_RETURN(const Digest manifest, WriteExport(artifact, layout, kProgramVersion, blobs));
  RETURN_IF_ERROR(MakeDirs(work_dir + "/results"));
  RETURN_IF_ERROR(WriteFileDurably(kept, absl::StrCat(manifest.sha256, " ", manifest.size_bytes)));
  return manifest;
}

absl::StatusOr<Digest> ExportIn(const Places& places, const PublishedArtifact& artifact,
                                const ExportLayout& layout, bool overwrite) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs, LocalBlobStore::Open(places.work + "/blobs"));
  absl::Status published;
  // A kept file that is damaged is set aside when it is read: once more, all of them are written again.
  for (int tries = 0; tries < 2; ++tries) {
    ASSIGN_OR_RETURN(const Digest manifest, WriteOnce(artifact, layout, places.work, *blobs));
    published = MaterialiseArtifact(*blobs, manifest, places.out, overwrite).status();
    if (published.ok()) return manifest;
    if (!IsLostBlob(published)) break;
  }
  return published;
}

nlohmann::ordered_json Sizes(const ExportLayout& layout) {
  return {{"format", std::string(layout.format.stored.name)},
          {"profile", layout.plan.profile},
          {"source_weight_file_bytes", layout.source_bytes},
          {"weight_file_bytes", layout.plan.weight_file_bytes},
          {"source_average_bits", layout.native_bits},
          {"average_bits", layout.plan.average_bits},
          {"linears", layout.plan.linears.size()},
          {"widened_linears", layout.widened},
          {"warnings", layout.format.warnings(layout.plan, layout.profile)}};
}

absl::Status Export(const ExportFlags& flags, const ModelSources& models) {
  const c10::InferenceMode inference;
  const ExportFormat* const format = FindExportFormat(flags.format);
  if (format == nullptr) {
    return InvalidFields(
        {{"--format", absl::StrCat("'", flags.format, "' is unknown; known are ", WeightFormatNames(", "))}});
  }
  Places places;
  if (!flags.estimate) {
    ASSIGN_OR_RETURN(places, DecidePlaces(flags, models));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModelAt(flags.artifact, models));
  const absl::StatusOr<PublishedArtifact> artifact = PublishedArtifact::Open(std::move(directory));
  if (!artifact.ok()) return Annotate(artifact.status(), flags.artifact);
  ASSIGN_OR_RETURN(const ExportLayout layout, LayOutExport(*artifact, *format, flags.profile));
  nlohmann::ordered_json result = Sizes(layout);
  if (!flags.estimate) {
    std::cerr << absl::StrCat("weight files: ", layout.source_bytes, " bytes in the artifact, ",
                              layout.plan.weight_file_bytes, " in the export (", layout.widened, " of ",
                              layout.plan.linears.size(), " linears stored wider)\n");
    for (const std::string& warning : layout.format.warnings(layout.plan, layout.profile))
      std::cerr << "warning: " << warning << "\n";
    ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(places.work, WorkDirectory::Use::kShared));
    const absl::StatusOr<Digest> manifest =
        RunGuardedOr<Digest>("export", [&] { return ExportIn(places, *artifact, layout, flags.overwrite); });
    EndWork(work, /*own=*/true, manifest.status());
    RETURN_IF_ERROR(manifest.status());
    result["artifact"] = flags.out;
    result["manifest_sha256"] = manifest->sha256;
  }
  std::cout << result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExport(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand(
      "export", "Writes the weights of a finished artifact in the form that another runtime loads.");
  auto flags = std::make_shared<ExportFlags>();
  command.Add("--artifact,artifact", flags->artifact, "directory of the artifact").Type("DIR").Required();
  command.Add("--out", flags->out, "directory of the export: a new name or an empty folder")
      .Type(kOutputFolder);
  command.AddSwitch("--overwrite", flags->overwrite, "replace an earlier export or artifact at --out");
  command.Add("--format", flags->format, WeightFormatNames(" or "));
  command.Add("--profile", flags->profile,
              absl::StrCat(ProfileNames(), ": codes are stored wider where the runtime needs it"));
  command.AddSwitch("--estimate", flags->estimate, "only print the sizes");
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return Export(*flags, models); };
  });
}

}  // namespace quantmoe
