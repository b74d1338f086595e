#include "quant/gptq/packing.h"

#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace quantmoe {
namespace {

// Calls visit(code index, word index, shift) for each piece of each of the 32 codes that fill `bits` words. A
// negative shift means that the code's upper bits start the word.
template <typename Visit>
void ForEachPiece(int bits, Visit visit) {
  for (int code = 0; code < 32; ++code) {
    const int word = code * bits / 32, offset = code * bits % 32;
    visit(code, word, offset);
    if (offset + bits > 32) visit(code, word + 1, offset - 32);
  }
}

}  // namespace

at::Tensor PackRows(const at::Tensor& codes, int bits) {
  const int64_t in = codes.size(0), out = codes.size(1);
  TORCH_CHECK_VALUE(in % 32 == 0, "packing needs a multiple of 32 input channels, not ", in);
  at::Tensor packed = at::zeros({in * bits / 32, out}, at::kInt);
  const uint8_t* source = codes.const_data_ptr<uint8_t>();
  auto* words = reinterpret_cast<uint32_t*>(packed.data_ptr<int32_t>());
  at::parallel_for(0, in / 32, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      ForEachPiece(bits, [&](int code, int word, int shift) {
        const uint8_t* from = source + (block * 32 + code) * out;
        uint32_t* to = words + (block * bits + word) * out;
        if (shift >= 0) {
          for (int64_t c = 0; c < out; ++c) to[c] |= static_cast<uint32_t>(from[c]) << shift;
        } else {
          for (int64_t c = 0; c < out; ++c) to[c] |= static_cast<uint32_t>(from[c]) >> -shift;
        }
      });
    }
  });
  return packed;
}

at::Tensor UnpackRows(const at::Tensor& qweight, int bits) {
  const int64_t in = qweight.size(0) * 32 / bits, out = qweight.size(1);
  at::Tensor codes = at::zeros({in, out}, at::kByte);
  const auto* words = reinterpret_cast<const uint32_t*>(qweight.const_data_ptr<int32_t>());
  uint8_t* target = codes.data_ptr<uint8_t>();
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t block = 0; block < in / 32; ++block) {
    ForEachPiece(bits, [&](int code, int word, int shift) {
      const uint32_t* from = words + (block * bits + word) * out;
      uint8_t* to = target + (block * 32 + code) * out;
      if (shift >= 0) {
        for (int64_t c = 0; c < out; ++c) to[c] |= static_cast<uint8_t>((from[c] >> shift) & mask);
      } else {
        for (int64_t c = 0; c < out; ++c) to[c] |= static_cast<uint8_t>((from[c] << -shift) & mask);
      }
    });
  }
  return codes;
}

at::Tensor SymmetricZeros(int64_t groups, int64_t out, int bits, int less) {
  const at::Tensor codes = at::full({out, 1}, (1 << (bits - 1)) - less, at::kByte);
  return PackRows(codes, bits).t().expand({groups, out * bits / 32}).contiguous();
}

namespace {

// All bits of the codes of the groups in `mask` [groups, out].
at::Tensor ComplementGroups(const at::Tensor& qweight, const at::Tensor& mask) {
  const int64_t words = qweight.size(0) / mask.size(0);
  return qweight.bitwise_xor(mask.to(at::kInt).neg_().repeat_interleave(words, 0));
}

// [groups, out] u8: what is stored for each zero point, which is one less.
at::Tensor UnpackZeros(const at::Tensor& qzeros, int bits) {
  return UnpackRows(qzeros.t().contiguous(), bits).t().contiguous();
}

}  // namespace

GptqTensors MirrorNegativeGroups(const at::Tensor& qweight, const at::Tensor& scales, int bits) {
  const at::Tensor negative = scales < 0;
  const int64_t groups = scales.size(0), out = scales.size(1);
  if (!negative.any().item<bool>()) return {qweight, SymmetricZeros(groups, out, bits), scales};
  const at::Tensor zeros =
      at::full({groups, out}, (1 << (bits - 1)) - 1, at::kByte).sub_(negative.to(at::kByte));
  return {ComplementGroups(qweight, negative), PackRows(zeros.t().contiguous(), bits).t().contiguous(),
          scales.abs()};
}

std::optional<SignedLinear> UnmirrorGroups(const GptqTensors& stored, int bits) {
  const at::Tensor zeros = UnpackZeros(stored.qzeros, bits);
  const int middle = (1 << (bits - 1)) - 1;
  const at::Tensor mirrored = zeros == middle - 1;
  if (!(mirrored | (zeros == middle)).all().item<bool>()) return std::nullopt;
  return SignedLinear{ComplementGroups(stored.qweight, mirrored),
                      at::where(mirrored, stored.scales.neg(), stored.scales)};
}

at::Tensor DequantizeStored(const GptqTensors& stored, int bits) {
  const at::Tensor codes = UnpackRows(stored.qweight, bits);
  const int64_t in = codes.size(0), out = codes.size(1), groups = stored.scales.size(0);
  const at::Tensor zeros = UnpackZeros(stored.qzeros, bits).to(at::kFloat).add_(1).unsqueeze(1);
  const at::Tensor centred = codes.to(at::kFloat).view({groups, in / groups, out}).sub_(zeros);
  return centred.mul_(stored.scales.to(at::kFloat).unsqueeze(1)).view({in, out}).t().contiguous();
}

at::Tensor DequantizeStored(const GptqTensors& stored, int bits, const at::Tensor& group_of, int less) {
  const at::Tensor zeros = UnpackZeros(stored.qzeros, bits).to(at::kFloat).add_(less);
  const at::Tensor centred =
      UnpackRows(stored.qweight, bits).to(at::kFloat).sub_(zeros.index_select(0, group_of));
  return centred.mul_(stored.scales.to(at::kFloat).index_select(0, group_of)).t().contiguous();
}

at::Tensor Dequantize(const at::Tensor& codes, const at::Tensor& scales, int bits, int group_size) {
  const int64_t in = codes.size(0), out = codes.size(1);
  const at::Tensor centred =
      codes.to(at::kFloat).sub_(1 << (bits - 1)).view({in / group_size, group_size, out});
  return (centred * scales.to(at::kFloat).unsqueeze(1)).view({in, out}).t().contiguous();
}

}  // namespace quantmoe
