// The safetensors format: u64 little-endian header length, JSON header, contiguous tensor data.
// Goals: read one tensor without touching the rest; refuse every file whose header lies; write the same bytes
// for the same tensors. Non-goals: other formats, in-place update. Layout rules: docs/formats.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/mapped_file.h"

namespace quantmoe {

enum class DType {
  kBool,
  kU8,
  kI8,
  kI16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU16,
  kC64,
  kForeign,  // any other name: such a tensor can be carried, never computed with
};

absl::string_view DTypeName(DType dtype);  // "BF16"
// kForeign for a name that is none of ours. INVALID_ARGUMENT for a text that cannot be a name.
absl::StatusOr<DType> ParseDType(absl::string_view name);
// Of a dtype whose elements are whole bytes; 0 for the others.
int64_t DTypeBytes(DType dtype);

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // bytes from the start of the data section
  int64_t end = 0;
  std::string foreign_dtype = {};  // what the file says for kForeign

  int64_t size_bytes() const { return end - begin; }
  int64_t elements() const;
  // What shape and dtype take, wherever the tensor lies; for kForeign only the offsets tell.
  int64_t data_bytes() const;
  // As a file spells it.
  absl::string_view dtype_name() const;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in order of offset
  std::map<std::string, std::string> metadata;
  int64_t data_offset = 0;  // from the start of the file: 8 + header length
};

// Parses the header of a file of `file_size` bytes. `prefix` must hold at least 8 + header length bytes.
// INVALID_ARGUMENT MODEL_INVALID names `file` and the tensor: truncated, duplicate, gap, overlap, size that
// does not match shape and dtype, data that ends beyond or before the file, and a pointer of Git LFS.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view prefix, int64_t file_size,
                                                         const std::string& file);
// Bytes that ParseSafetensorsHeader needs (8 + header length), from the first 8 bytes.
absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view first8, int64_t file_size,
                                               const std::string& file);

// A whole file in memory or mapped.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Parse(MappedFile file, const std::string& name);
  const SafetensorsHeader& header() const { return header_; }
  const TensorInfo* Find(absl::string_view name) const;  // null when absent
  // The bytes of a tensor of this file.
  absl::string_view Bytes(const TensorInfo& tensor) const;
  std::shared_ptr<const void> owner() const { return file_.owner(); }

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Where every tensor goes in a file to be written: by descending alignment of the dtype, then by name, as the
// reference writer does. Offsets are filled in; `header` is the length and the JSON padded to 8 bytes.
struct SafetensorsLayout {
  std::string header;
  std::vector<TensorInfo> tensors;  // in the order in which their bytes follow the header
  int64_t file_size() const;
};
SafetensorsLayout LayOutSafetensors(std::vector<TensorInfo> tensors,
                                    std::map<std::string, std::string> metadata);

}  // namespace quantmoe
