// Integer codes to the dense words of a GPTQ v1 checkpoint and back: a least-significant-bit-first stream
// along the input channels, code i at bits b*i .. b*i+b-1 of the stream, 32 bits a word (docs/formats.md).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace quantmoe {

// codes [in, out] u8, each below 2^bits, in a multiple of 32 -> qweight [in*bits/32, out] i32.
at::Tensor PackRows(const at::Tensor& codes, int bits);

// The inverse. qweight [in*bits/32, out] i32 -> codes [in, out] u8.
at::Tensor UnpackRows(const at::Tensor& qweight, int bits);

// The qzeros of a symmetric linear, which all hold 2^(bits-1) - 1: [groups, out*bits/32] i32.
at::Tensor SymmetricZeros(int64_t groups, int64_t out, int bits);

// Weights from codes [in, out] u8 and scales [in/group_size, out]: [out, in] f32 = scale * (code -
// 2^(bits-1)).
at::Tensor Dequantize(const at::Tensor& codes, const at::Tensor& scales, int bits, int group_size);

}  // namespace quantmoe
