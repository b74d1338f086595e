// Writes the weight files of an artifact: kept tensors byte for byte from the source, quantized linears from
// the blobs of the plan or from wherever a reader takes them. The layout comes from plan/artifact_size, so
// sizes equal what was predicted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/allocate/artifact_size.h"
#include "plan/allocate/bit_plan.h"
#include "sources/checkpoint.h"
#include "storage/blob_store.h"
#include "storage/mapped_file.h"

namespace quantmoe {

struct ArtifactPart {
  std::string path;  // relative to the artifact
  Digest digest;
};

// Weight files and, when there are several, their index. Each is read back and checked before it is returned:
// header, shapes, code range implied by the packing, finite scales, and the digest of every copied tensor.
// DATA_LOSS says what differs or is missing; errors of `source` and `blobs`.
absl::StatusOr<std::vector<ArtifactPart>> WriteWeightFiles(const BitPlan& plan, const ModelSpec& spec,
                                                           const Checkpoint& source, BlobStore& blobs);

// Gives the bytes of a tensor of the layout.
using TensorReader = std::function<absl::StatusOr<MappedFile>(const TensorInfo&)>;
// Those of a tensor that was computed, contiguous on the CPU. INTERNAL unless it has the shape and dtype of
// the layout.
absl::StatusOr<MappedFile> BytesForLayout(const at::Tensor& tensor, const TensorInfo& info);
// The same for files that are laid out already; one tensor is in memory at a time. Errors of `read`; INTERNAL
// when it gives another size than the layout says.
absl::StatusOr<std::vector<ArtifactPart>> WriteLaidOutFiles(const std::vector<WeightFile>& files,
                                                            const TensorReader& read, BlobStore& blobs);

// Tokenizer, generation and licence files of the source that an artifact carries unchanged. Errors of the
// model directory and of `blobs`.
absl::StatusOr<std::vector<ArtifactPart>> CopyModelFiles(const Checkpoint& source, BlobStore& blobs);

}  // namespace quantmoe
