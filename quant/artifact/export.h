// The weights of a finished GPTQ artifact in the form that another runtime loads: the same numbers, at the
// widths of a profile, as GPTQ or compressed-tensors. A symmetric code of b bits is the same multiple of its
// scale at B > b bits once 2^(B-1) - 2^(b-1) is added, so nothing is lost or recomputed.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/allocate/artifact_size.h"
#include "plan/allocate/bit_plan.h"
#include "quant/artifact/export_format.h"
#include "quant/artifact/published_artifact.h"
#include "storage/blob_store.h"

namespace quantmoe {

// What an export will be, to the byte, before anything is written.
struct ExportLayout {
  const ExportFormat& format;
  const RuntimeProfile& profile;
  BitPlan plan;                   // with the widths, sizes and the profile's name of the export
  std::vector<WeightFile> files;  // model files, without their index
  int64_t source_bytes = 0;       // weight files of the artifact
  double native_bits = 0;         // average of the artifact's widths
  size_t widened = 0;             // linears that are stored at more bits than they were solved for
};

// Each linear gets the smallest width of the profile that holds its codes and those of the linears that the
// runtime joins with it. INVALID_ARGUMENT INVALID_FIELD for an unknown profile, or a group size or width that
// it cannot load.
absl::StatusOr<ExportLayout> LayOutExport(const PublishedArtifact& artifact, const ExportFormat& format,
                                          const std::string& profile);

// Writes all files as blobs, one tensor in memory at a time, reads every one back, and compares each
// dequantized weight with the artifact's bit for bit; then puts the manifest, whose digest is the result.
// DATA_LOSS names file and tensor that differ. Nothing depends on time or place.
absl::StatusOr<Digest> WriteExport(const PublishedArtifact& artifact, const ExportLayout& layout,
                                   const std::string& version, BlobStore& blobs);

}  // namespace quantmoe
