#include "plan/model/tied_head.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "plan/model/linears.h"
#include "plan/model/tensor_views.h"

namespace quantmoe {
namespace {

constexpr int64_t kChunkBytes = int64_t{16} << 20;
constexpr int64_t kRemoteBytes = int64_t{1} << 20;

// Offset and length of what is compared of tensors of this size.
std::vector<std::pair<int64_t, int64_t>> Pieces(const Checkpoint& checkpoint, int64_t bytes) {
  if (checkpoint.directory().uri().scheme != ModelUri::Scheme::kFile) {
    const int64_t part = std::min(bytes, kRemoteBytes);
    return {{0, part}, {bytes - part, part}};
  }
  std::vector<std::pair<int64_t, int64_t>> pieces;
  for (int64_t begin = 0; begin < bytes; begin += kChunkBytes)
    pieces.emplace_back(begin, std::min(kChunkBytes, bytes - begin));
  return pieces;
}

absl::StatusOr<bool> SameTensors(const Checkpoint& checkpoint, const TensorInfo& one,
                                 const TensorInfo& other) {
  if (one.dtype != other.dtype || one.shape != other.shape) return false;
  for (const auto& [offset, length] : Pieces(checkpoint, one.size_bytes())) {
    ASSIGN_OR_RETURN(const MappedFile a, checkpoint.ReadRange(one.name, offset, length));
    ASSIGN_OR_RETURN(const MappedFile b, checkpoint.ReadRange(other.name, offset, length));
    if (a.bytes() != b.bytes()) return false;
  }
  return true;
}

}  // namespace

absl::Status CheckTiedHead(const ModelSpec& spec, const Checkpoint& checkpoint) {
  if (!spec.tied_embeddings) return absl::OkStatus();
  const std::string head = TensorNames::UntiedHead(spec), embedding = TensorNames::Embedding(spec);
  const Checkpoint::Location *stored = checkpoint.Find(head), *tied = checkpoint.Find(embedding);
  if (stored == nullptr || tied == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool same, SameTensors(checkpoint, stored->info, tied->info));
  if (same) return absl::OkStatus();
  return TensorError(
      checkpoint, head,
      absl::StrCat("differs from ", embedding,
                   ", but config.json has `tie_word_embeddings`: which of them is the output head "
                   "has no agreed meaning"));
}

}  // namespace quantmoe
