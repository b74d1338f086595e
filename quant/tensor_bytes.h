// Between bytes at rest and tensors: views over mapped files, and safetensors blobs written from tensors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "storage/blob_store.h"
#include "storage/mapped_file.h"
#include "storage/safetensors.h"

namespace quantmoe {

// A tensor on the CPU with the shape and dtype of `info` that shares the memory of `bytes`, which holds just
// that, and keeps it mapped; never write to it. Copied when the address is not aligned for the type.
// INVALID_ARGUMENT MODEL_UNSUPPORTED for a dtype that cannot be computed with.
absl::StatusOr<at::Tensor> TensorFromBytes(const TensorInfo& info, const MappedFile& bytes);

// The type of a tensor with a dtype of the file format; throws c10::Error for one that cannot be computed
// with.
at::ScalarType ScalarTypeOf(DType dtype);

// The dtype of a tensor in the file format; throws c10::Error for a type that the format lacks.
DType DTypeOf(const at::Tensor& tensor);

// The bytes of a tensor of any shape and dtype, which must outlive the view; throws c10::Error unless it is
// contiguous on the CPU.
absl::string_view BytesOf(const at::Tensor& tensor);

using NamedTensors = std::map<std::string, at::Tensor>;

// Stores tensors of any shape, contiguous on the CPU, as one safetensors blob. Errors of the store, such as
// RESOURCE_EXHAUSTED DISK_FULL.
absl::StatusOr<Digest> PutTensors(BlobStore& blobs, const NamedTensors& tensors);

// Opens a safetensors blob; the tensors share its mapping, in the shapes and dtypes that it says. Errors of
// BlobStore::Open; INVALID_ARGUMENT MODEL_INVALID for what is no safetensors file, MODEL_UNSUPPORTED as of
// TensorFromBytes.
absl::StatusOr<NamedTensors> GetTensors(BlobStore& blobs, const Digest& digest);

// The same of a file or a pipe. NOT_FOUND when there is none; errors of ReadWholeFile for what cannot be
// mapped.
absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path);
// Tensors as for PutTensors. Errors of ErrnoError, such as RESOURCE_EXHAUSTED DISK_FULL.
absl::Status WriteTensorFile(const std::string& path, const NamedTensors& tensors);

}  // namespace quantmoe
