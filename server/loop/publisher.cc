#include "server/loop/publisher.h"

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "plan/model/json_codec.h"
#include "server/facts/task_rows.h"
#include "storage/artifact_directory.h"
#include "storage/output_directory.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// The perplexity that a comparison of scores names `side`, "before" or "after"; 0 where it has none.
double Perplexity(const json& scores, const char* side) {
  if (!scores.contains("comparison")) return 0;
  for (const json& score : scores.at("comparison").at("scores")) {
    if (score.at("task") == "perplexity") return score.at(side).get<double>();
  }
  return 0;
}

// What the metrics tell of the scores. Scores that cannot be read are no reason to lose an artifact.
absl::StatusOr<server::ArtifactRecord::Quality> ReadQuality(LocalBlobStore& blobs,
                                                            const Digest& scores_digest) {
  ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(scores_digest));
  return DecodeJson<server::ArtifactRecord::Quality>(file.bytes(), "scores", [](const json& scores) {
    server::ArtifactRecord::Quality quality;
    quality.set_original_perplexity(Perplexity(scores, "before"));
    quality.set_perplexity(Perplexity(scores, "after"));
    if (scores.contains("reference"))
      quality.set_uniform_perplexity(Perplexity(scores.at("reference"), "before"));
    const json verdict = scores.value("verdict", json());
    if (verdict.is_object()) quality.set_recommends(verdict.at("recommends").get<std::string>());
    return quality;
  });
}

}  // namespace

absl::Status CheckPlace(const std::string& artifacts_dir, const std::string& job) {
  const std::string directory = absl::StrCat(artifacts_dir, "/", job);
  RETURN_IF_ERROR(JudgeOutput(directory, /*overwrite=*/true).status());
  return WorkDirectory::Check(StagingBeside(directory));
}

bool IsPlaceTaken(const absl::Status& error) {
  const std::string reason = GetErrorInfo(error).reason;
  return reason == "OUTPUT_EXISTS" || reason == "NOT_A_WORK_DIRECTORY";
}

absl::StatusOr<server::ArtifactRecord> PublishArtifact(LocalBlobStore& blobs,
                                                       const std::vector<BlobRef>& outputs,
                                                       const std::string& artifacts_dir,
                                                       const std::string& job) {
  server::ArtifactRecord artifact;
  for (const auto& [role, digest] : outputs) {
    if (role == "manifest") *artifact.mutable_manifest() = ToProto(digest);
    if (role != "scores") continue;
    const auto quality = ReadQuality(blobs, digest);
    if (quality.ok()) *artifact.mutable_quality() = *quality;
    if (!quality.ok())
      Log(LogLevel::kWarning, "scores cannot be read",
          {{"job", job}, {"error", quality.status().ToString()}});
  }
  if (!artifact.has_manifest()) {
    return MakeError(absl::StatusCode::kInternal, "MANIFEST_INVALID", "publish gave no manifest");
  }
  ASSIGN_OR_RETURN(const std::vector<ArtifactFile> files,
                   MaterialiseArtifact(blobs, FromProto(artifact.manifest()),
                                       absl::StrCat(artifacts_dir, "/", job), /*overwrite=*/true));
  for (const ArtifactFile& file : files) {
    auto& added = *artifact.add_files();
    added.set_path(file.path);
    *added.mutable_digest() = ToProto(file.digest);
  }
  return artifact;
}

void Unpublish(const std::string& directory) {
  absl::Status removed = RemoveWorkDirectory(StagingBeside(directory));
  removed.Update(RemoveArtifact(directory));
  if (removed.ok()) return;
  Log(LogLevel::kWarning, "an artifact was not removed",
      {{"directory", directory}, {"error", std::string(removed.message())}});
}

}  // namespace quantmoe
