#include "quant/model/stored_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/status_macros.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

constexpr int64_t kBlockBytes = 16;
constexpr std::array<float, 16> kE2m1 = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                         -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

float E8m0(uint8_t scale) {
  return scale == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, scale - 127);
}

}  // namespace

// The outputs that the view names, as stored.
absl::StatusOr<at::Tensor> ViewReader::ReadOutputs(const std::string& name, const TensorView& view,
                                                   Run& last) {
  TensorInfo info = checkpoint_->Find(name)->info;
  StoredRun run = RunOf(info, view);
  const bool whole = view.expert < 0 || (view.stride == 1 && !view.transposed);
  if (last.tensor != name || last.offset != run.offset || whole) {
    last = {};  // before the next is read: one run is held, not two
    ASSIGN_OR_RETURN(last.bytes, checkpoint_->ReadRange(name, run.offset, run.bytes));
    last.tensor = name;
    last.offset = run.offset;
  }
  info.shape = std::move(run.shape);
  if (info.dtype == DType::kF8E8M0) info.dtype = DType::kU8;
  const MappedFile bytes = last.bytes;
  if (whole) last = {};
  ASSIGN_OR_RETURN(const at::Tensor stored, TensorFromBytes(info, bytes));
  if (whole) return stored;
  const int64_t end = view.first + view.stride * view.shape[0];
  return stored.slice(view.transposed ? 1 : 0, view.first, end, view.stride);
}

at::Tensor DecodeFp8Blocks(const at::Tensor& values, const at::Tensor& scales, int64_t rows,
                           int64_t columns) {
  at::Tensor decoded = values.to(at::kFloat);
  at::Tensor factors = scales.scalar_type() == at::kByte ? DecodeE8m0(scales) : scales.to(at::kFloat);
  if (factors.dim() < 2) factors = factors.reshape({1, 1});
  const int64_t blocks = (values.size(0) + rows - 1) / rows;
  const at::Tensor wide = factors.repeat_interleave(columns, 1).narrow(1, 0, values.size(1));
  for (int64_t block = 0; block < blocks; ++block) {
    decoded.slice(0, block * rows, (block + 1) * rows).mul_(wide[block]);
  }
  return decoded;
}

at::Tensor DecodeE8m0(const at::Tensor& exponents) {
  at::Tensor decoded = at::empty(exponents.sizes(), at::kFloat);
  const at::Tensor packed = exponents.contiguous();
  const uint8_t* from = packed.const_data_ptr<uint8_t>();
  std::transform(from, from + packed.numel(), decoded.data_ptr<float>(), E8m0);
  return decoded;
}

at::Tensor DecodeMxfp4(const at::Tensor& blocks, const at::Tensor& scales) {
  const at::Tensor packed = blocks.contiguous(), exponents = scales.narrow(1, 0, blocks.size(1)).contiguous();
  at::Tensor decoded = at::empty({blocks.size(0), blocks.size(1) * 2 * kBlockBytes}, at::kFloat);
  const uint8_t* from = packed.const_data_ptr<uint8_t>();
  const uint8_t* scale = exponents.const_data_ptr<uint8_t>();
  float* to = decoded.data_ptr<float>();
  at::parallel_for(0, exponents.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const float factor = E8m0(scale[block]);
      for (int64_t i = block * kBlockBytes; i < (block + 1) * kBlockBytes; ++i) {
        to[2 * i] = kE2m1[from[i] & 15] * factor;
        to[2 * i + 1] = kE2m1[from[i] >> 4] * factor;
      }
    }
  });
  return decoded;
}

absl::StatusOr<at::Tensor> ViewReader::Read(const TensorView& view) {
  ASSIGN_OR_RETURN(const at::Tensor values, ReadOutputs(view.tensor, view, values_));
  if (view.encoding == Encoding::kPlain) return view.transposed ? values.t() : values;
  ASSIGN_OR_RETURN(const at::Tensor scales, ReadOutputs(view.scales, view, scales_));
  if (view.encoding == Encoding::kMxfp4) return DecodeMxfp4(values, scales);
  return DecodeFp8Blocks(values, scales, view.block_rows, view.block_columns);
}

}  // namespace quantmoe
