#include "local/make_spec.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/read_spec.h"
#include "local/model_input.h"
#include "plan/job/complete_input.h"
#include "plan/job/shipped_prose.h"
#include "plan/options/spec_files.h"
#include "sources/data_file.h"

namespace quantmoe {
namespace {

// The prose that comes with the program, where the spec means it.
absl::Status StoreProse(JobSpec& spec, LocalBlobStore& blobs) {
  for (const absl::string_view prose : {ShippedCalibrationProse(), ShippedHeldoutProse()}) {
    const Digest digest = DigestOf(prose);
    for (const SpecFile& file : FilesOf(spec)) {
      if (*file.digest == digest) RETURN_IF_ERROR(blobs.Put(prose).status());
    }
  }
  return absl::OkStatus();
}

// Bytes that only a digest names must be known here.
absl::Status CheckStored(const JobSpec& spec, LocalBlobStore& blobs) {
  std::vector<FieldViolation> violations;
  for (const NamedBlob& blob : NamedBlobs(spec)) {
    ASSIGN_OR_RETURN(const bool stored, blobs.Contains(blob.digest));
    if (stored) continue;
    violations.push_back(
        {blob.field, absl::StrCat("the bytes of ", blob.digest.sha256, " are not here; name a file by ",
                                  blob.field.substr(5), "_uri")});
  }
  return InvalidFields(std::move(violations));
}

}  // namespace

absl::StatusOr<Digest> JobData::Take(const std::string& path) {
  if (const auto known = taken_.find(path); known != taken_.end()) return known->second;
  const absl::StatusOr<std::string> bytes = ReadUserData(path, sources_);
  if (!bytes.ok()) {
    const bool told = IsDataUri(path) || !GetErrorInfo(bytes.status()).violations.empty();
    return told ? bytes.status() : InvalidFields({{path, std::string(bytes.status().message())}});
  }
  Digest digest = DigestOf(*bytes);
  if (blobs_ != nullptr) {
    ASSIGN_OR_RETURN(digest, blobs_->Put(*bytes));
  }
  return taken_.emplace(path, std::move(digest)).first->second;
}

absl::StatusOr<JobSpec> MakeSpec(cli::SpecInput input, JobData& data) {
  RETURN_IF_ERROR(cli::TakeFiles(
      [&data](const std::string& path) -> absl::StatusOr<std::optional<Digest>> { return data.Take(path); },
      input));
  LocalBlobStore* const blobs = data.blobs();
  JobSpec spec = std::move(input.spec);
  RETURN_IF_ERROR(InvalidFields(CompleteInput(spec)));
  if (blobs == nullptr) return spec;
  RETURN_IF_ERROR(StoreProse(spec, *blobs));
  RETURN_IF_ERROR(CheckStored(spec, *blobs));
  return spec;
}

}  // namespace quantmoe
