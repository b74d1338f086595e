// Reading a tensor view: only the bytes of the slice where they lie together, decoded from FP8 and MXFP4.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/tensor_views.h"
#include "sources/checkpoint.h"
#include "storage/mapped_file.h"

namespace quantmoe {

// Remembers the bytes that were read last, so that gate and up of an expert, where they lie in one run, are
// read once. Thread-compatible.
class ViewReader {
 public:
  explicit ViewReader(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}

  // A tensor of the view's shape. A plain one keeps its dtype and may share the memory of the file (never
  // write to it) and be strided; an encoded one is f32. The view must come from the same checkpoint.
  // INVALID_ARGUMENT MODEL_UNSUPPORTED for a dtype that cannot be computed with; errors of
  // ModelDirectory::Read.
  absl::StatusOr<at::Tensor> Read(const TensorView& view);

 private:
  struct Run {
    std::string tensor;
    int64_t offset = 0;
    MappedFile bytes = {};
  };
  absl::StatusOr<at::Tensor> ReadOutputs(const std::string& name, const TensorView& view, Run& last);

  const Checkpoint* checkpoint_;
  Run values_, scales_;  // empty names: none
};

// values F8_E4M3 [out, in] times the scale of their block of rows x columns, [ceil(out / rows), ceil(in /
// columns)] or more, which are left out; one element of any shape for a single block. Scales are of any float
// dtype, or u8: exponents as in DecodeE8m0. f32.
at::Tensor DecodeFp8Blocks(const at::Tensor& values, const at::Tensor& scales, int64_t rows, int64_t columns);

// OCP Microscaling Formats v1.0, section 5.4.1: u8 of any shape -> 2^(x - 127) in f32; NaN for 255.
at::Tensor DecodeE8m0(const at::Tensor& exponents);

// The same document, section 5.3.3 (MXFP4): blocks U8 [out, in / 32, 16], low half of a byte first, E8M0
// scales U8 [out, in / 32] or wider, of which the rest is left out. [out, in] f32; NaN where a scale is 255.
at::Tensor DecodeMxfp4(const at::Tensor& blocks, const at::Tensor& scales);

}  // namespace quantmoe
