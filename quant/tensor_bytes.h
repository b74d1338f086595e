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

// A tensor that shares the memory of `bytes` and keeps it mapped; never write to it. Copied when the address
// is not aligned for the type.
absl::StatusOr<at::Tensor> TensorFromBytes(const TensorInfo& info, const MappedFile& bytes);

// The type of a tensor with a dtype of the file format; aborts for dtypes that cannot be computed with.
at::ScalarType ScalarTypeOf(DType dtype);

// The dtype of a tensor in the file format; aborts for types that the format lacks.
DType DTypeOf(const at::Tensor& tensor);

// Contiguous bytes of a CPU tensor; the tensor must outlive the view.
absl::string_view BytesOf(const at::Tensor& tensor);

using NamedTensors = std::map<std::string, at::Tensor>;

// Stores tensors as one safetensors blob.
absl::StatusOr<Digest> PutTensors(BlobStore& blobs, const NamedTensors& tensors);

// Opens a safetensors blob; the tensors share its mapping.
absl::StatusOr<NamedTensors> GetTensors(BlobStore& blobs, const Digest& digest);

// Opens a safetensors file.
absl::StatusOr<NamedTensors> ReadTensorFile(const std::string& path);
absl::Status WriteTensorFile(const std::string& path, const NamedTensors& tensors);

}  // namespace quantmoe
