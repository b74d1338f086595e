#include "quant/tensor_bytes.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr std::pair<DType, at::ScalarType> kTypes[] = {
    {DType::kBool, at::kBool},
    {DType::kU8, at::kByte},
    {DType::kI8, at::kChar},
    {DType::kI16, at::kShort},
    {DType::kF16, at::kHalf},
    {DType::kBF16, at::kBFloat16},
    {DType::kI32, at::kInt},
    {DType::kF32, at::kFloat},
    {DType::kF64, at::kDouble},
    {DType::kI64, at::kLong},
    {DType::kF8E4M3, at::kFloat8_e4m3fn},
    {DType::kF8E5M2, at::kFloat8_e5m2},
    {DType::kF8E8M0, at::kFloat8_e8m0fnu},
    {DType::kU32, at::kUInt32},
    {DType::kU64, at::kUInt64},
};

absl::StatusOr<NamedTensors> TensorsOf(const SafetensorsFile& file, const MappedFile& map) {
  NamedTensors tensors;
  for (const TensorInfo& info : file.header().tensors) {
    const int64_t offset = file.header().data_offset + info.begin;
    ASSIGN_OR_RETURN(tensors[info.name], TensorFromBytes(info, map.Slice(offset, info.size_bytes())));
  }
  return tensors;
}

SafetensorsLayout LayOut(const NamedTensors& tensors) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos.push_back({name, DTypeOf(tensor), tensor.sizes().vec(), 0, 0});
  return LayOutSafetensors(std::move(infos), {});
}

}  // namespace

absl::StatusOr<at::Tensor> TensorFromBytes(const TensorInfo& info, const MappedFile& bytes) {
  for (const auto& [dtype, scalar] : kTypes) {
    if (dtype != info.dtype) continue;
    if (info.elements() == 0) return at::empty(info.shape, scalar);
    void* data = const_cast<char*>(bytes.bytes().data());
    auto owner = bytes.owner();
    at::Tensor view = at::from_blob(
        data, info.shape, [owner](void*) {}, at::TensorOptions().dtype(scalar));
    const bool aligned = reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(view.element_size()) == 0;
    if (aligned) return view;
    at::Tensor copy = at::empty(info.shape, at::TensorOptions().dtype(scalar));
    std::memcpy(copy.data_ptr(), data, bytes.bytes().size());
    return copy;
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
      absl::StrCat("tensor ", info.name, ": dtype ", DTypeName(info.dtype), " is not supported"));
}

at::ScalarType ScalarTypeOf(DType dtype) {
  for (const auto& [stored, scalar] : kTypes) {
    if (stored == dtype) return scalar;
  }
  TORCH_CHECK(false, "no tensor type for ", std::string(DTypeName(dtype)));
}

DType DTypeOf(const at::Tensor& tensor) {
  for (const auto& [dtype, scalar] : kTypes) {
    if (scalar == tensor.scalar_type()) return dtype;
  }
  TORCH_CHECK(false, "no safetensors dtype for ", tensor.scalar_type());
}

absl::string_view BytesOf(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(),
              "bytes of a tensor that is not contiguous on the CPU");
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

absl::StatusOr<Digest> PutTensors(BlobStore& blobs, const NamedTensors& tensors) {
  const SafetensorsLayout layout = LayOut(tensors);
  ASSIGN_OR_RETURN(std::unique_ptr<BlobWriter> writer, blobs.Create());
  RETURN_IF_ERROR(writer->Append(layout.header));
  for (const TensorInfo& info : layout.tensors) {
    RETURN_IF_ERROR(writer->Append(BytesOf(tensors.at(info.name))));
  }
  return writer->Commit();
}

absl::StatusOr<NamedTensors> GetTensors(BlobStore& blobs, const Digest& digest) {
  ASSIGN_OR_RETURN(const MappedFile map, blobs.Open(digest));
  ASSIGN_OR_RETURN(const SafetensorsFile file,
                   SafetensorsFile::Parse(map, absl::StrCat("blob ", digest.sha256)));
  return TensorsOf(file, map);
}

namespace {

// What is no regular file cannot be mapped.
absl::StatusOr<MappedFile> OpenWhole(const std::string& path) {
  if (CanBeReadAgain(path)) return MappedFile::Open(path);
  ASSIGN_OR_RETURN(std::string bytes, ReadWholeFile(path, kMaxDataBytes));
  return MappedFile::FromString(std::move(bytes));
}

}  // namespace

absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile map, OpenWhole(path));
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(map, path));
  return TensorsOf(file, map);
}

absl::Status WriteTensorFile(const std::string& path, const NamedTensors& tensors) {
  const SafetensorsLayout layout = LayOut(tensors);
  std::vector<absl::string_view> pieces = {layout.header};
  for (const TensorInfo& info : layout.tensors) pieces.push_back(BytesOf(tensors.at(info.name)));
  return WriteFileDurably(path, pieces);
}

}  // namespace quantmoe
