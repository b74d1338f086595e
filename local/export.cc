#include "quant/artifact/export.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/model_input.h"
#include "storage/artifact_directory.h"

namespace quantmoe {
namespace {

struct ExportFlags {
  std::string artifact, out;
  std::string format = "gptq", profile = "any";
  bool estimate = false;
};

// Where blobs are until the directory is whole; nothing is left of it.
class WorkDirectory {
 public:
  explicit WorkDirectory(std::string path) : path_(std::move(path)) {}
  ~WorkDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

absl::Status CheckOut(const ExportFlags& flags) {
  if (flags.out.empty() && !flags.estimate) return InvalidFields({{"--out", "must be given"}});
  for (const std::string& path : {flags.out, flags.out + ".work"}) {
    std::error_code ignored;
    if (!flags.estimate && std::filesystem::exists(path, ignored))
      return InvalidFields({{"--out", absl::StrCat(path, " exists already")}});
  }
  return absl::OkStatus();
}

// Loaders that take the export without a complaint and compute something else (docs/formats.md, section 10).
std::vector<std::string> Warnings(const ExportLayout& layout) {
  const auto expert = [](const PlannedLinear& planned) { return IsExpert(planned.linear.kind); };
  const auto& linears = layout.plan.linears;
  if (layout.format != ExportFormat::kCompressedTensors || layout.plan.profile == "sglang" ||
      std::none_of(linears.begin(), linears.end(), expert)) {
    return {};
  }
  return {
      "transformers computes wrong logits from compressed-tensors whose experts are listed by name; for it, "
      "export with --profile sglang"};
}

nlohmann::ordered_json Sizes(const ExportLayout& layout) {
  return {{"format", ExportFormatName(layout.format)},
          {"profile", layout.plan.profile},
          {"source_weight_file_bytes", layout.source_bytes},
          {"weight_file_bytes", layout.plan.weight_file_bytes},
          {"source_average_bits", layout.native_bits},
          {"average_bits", layout.plan.average_bits},
          {"linears", layout.plan.linears.size()},
          {"widened_linears", layout.widened},
          {"warnings", Warnings(layout)}};
}

absl::Status Export(const ExportFlags& flags, const ModelSources& models) {
  const c10::InferenceMode inference;
  ASSIGN_OR_RETURN(const ExportFormat format, ParseExportFormat(flags.format));
  RETURN_IF_ERROR(CheckOut(flags));
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModelDirectory(flags.artifact, models));
  const absl::StatusOr<PublishedArtifact> artifact = PublishedArtifact::Open(std::move(directory));
  if (!artifact.ok()) return Annotate(artifact.status(), flags.artifact);
  ASSIGN_OR_RETURN(const ExportLayout layout, LayOutExport(*artifact, format, flags.profile));
  nlohmann::ordered_json result = Sizes(layout);
  if (!flags.estimate) {
    std::cerr << absl::StrCat("weight files: ", layout.source_bytes, " bytes in the artifact, ",
                              layout.plan.weight_file_bytes, " in the export (", layout.widened, " of ",
                              layout.plan.linears.size(), " linears stored wider)\n");
    for (const std::string& warning : Warnings(layout)) std::cerr << "warning: " << warning << "\n";
    const WorkDirectory work(flags.out + ".work");
    ASSIGN_OR_RETURN(const std::unique_ptr<LocalBlobStore> blobs,
                     LocalBlobStore::Open(work.path() + "/blobs"));
    ASSIGN_OR_RETURN(const Digest manifest, WriteExport(*artifact, layout, QUANTMOE_VERSION, *blobs));
    RETURN_IF_ERROR(MaterialiseArtifact(*blobs, manifest, flags.out).status());
    result["artifact"] = flags.out;
    result["manifest_sha256"] = manifest.sha256;
  }
  std::cout << result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExport(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "export", "Writes the weights of a finished artifact in the form that another runtime loads.");
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("--artifact", flags->artifact, "directory of the artifact")->required();
  command->add_option("--out", flags->out, "new directory of the export");
  command->add_option("--format", flags->format, "gptq or compressed-tensors");
  command->add_option("--profile", flags->profile,
                      "any, gptqmodel, vllm or sglang: codes are stored wider where the runtime needs it");
  command->add_flag("--estimate", flags->estimate, "only print the sizes");
  command->callback(
      [&run, flags] { run = [flags](const ModelSources& models) { return Export(*flags, models); }; });
}

}  // namespace quantmoe
