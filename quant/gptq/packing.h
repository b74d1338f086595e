// Integer codes to the dense words of a GPTQ v1 checkpoint and back: a least-significant-bit-first stream
// along the input channels, code i at bits b*i .. b*i+b-1 of the stream, 32 bits a word (docs/formats.md).
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

namespace quantmoe {

// codes [in, out] u8, each below 2^bits, in a multiple of 32 -> qweight [in*bits/32, out] i32.
at::Tensor PackRows(const at::Tensor& codes, int bits);

// The inverse. qweight [in*bits/32, out] i32 -> codes [in, out] u8.
at::Tensor UnpackRows(const at::Tensor& qweight, int bits);

// The qzeros of a symmetric linear, which all hold 2^(bits-1) - less: [groups, out*bits/32] i32.
at::Tensor SymmetricZeros(int64_t groups, int64_t out, int bits, int less = 1);

// A linear as GPTQ v1 stores it; zeros are 2^(bits-1), or one less in a mirrored group.
struct GptqTensors {
  at::Tensor qweight;  // [in*bits/32, out] i32
  at::Tensor qzeros;   // [in/group_size, out*bits/32] i32: zeros less 1, packed along the outputs
  at::Tensor scales;   // [in/group_size, out] f16
};

// From the packed codes [in*bits/32, out] i32 of a symmetric linear and its scales [in/group_size, out] f16
// of either sign. Loaders expect positive scales; a group with a negative one is mirrored: its codes are
// complemented and its zero point is one less, which is -1 times what it was, bit by bit.
GptqTensors MirrorNegativeGroups(const at::Tensor& qweight, const at::Tensor& scales, int bits);

// The inverse; without a value when a zero point is neither 2^(bits-1) nor one less.
struct SignedLinear {
  at::Tensor qweight;  // [in*bits/32, out] i32, zero point 2^(bits-1)
  at::Tensor scales;   // [in/group_size, out] f16, of either sign
};
std::optional<SignedLinear> UnmirrorGroups(const GptqTensors& stored, int bits);

// Weights [out, in] f32 = scale * (code - zero), for any zero points. Groups are runs of in / groups
// channels.
at::Tensor DequantizeStored(const GptqTensors& stored, int bits);
// The same where `group_of` [in] i32 names the group of each input channel, and a stored zero point is `less`
// less than it is: 1 in version 1 of the format, 0 in version 2. Every group must be one that there is.
at::Tensor DequantizeStored(const GptqTensors& stored, int bits, const at::Tensor& group_of, int less);

// Weights from codes [in, out] u8 and scales [in/group_size, out] of any float dtype: [out, in] f32 = scale *
// (code - 2^(bits-1)).
at::Tensor Dequantize(const at::Tensor& codes, const at::Tensor& scales, int bits, int group_size);

}  // namespace quantmoe
