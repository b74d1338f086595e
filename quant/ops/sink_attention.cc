#include "quant/ops/sink_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

constexpr int64_t kQueries = 256;

// A block of queries of one head, [rows, dim], against keys and values [keys, dim] of which some are not
// seen.
at::Tensor AttendBlock(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& sink,
                       const at::Tensor& unseen, double scale) {
  at::Tensor scores = at::mm(q, k.t()).to(at::kFloat).mul_(scale);
  scores.masked_fill_(unseen, -std::numeric_limits<float>::infinity());
  const at::Tensor joined = at::cat({scores, sink.to(at::kFloat).expand({q.size(0), 1})}, 1);
  return at::mm(at::softmax(joined, 1).narrow(1, 0, k.size(0)).to(v.scalar_type()), v);
}

// Keys [begin, last) that queries [first, last) do not see.
at::Tensor Unseen(int64_t first, int64_t begin, int64_t last, int64_t window) {
  const at::Tensor distance = at::arange(first, last).unsqueeze(1) - at::arange(begin, last).unsqueeze(0);
  return window > 0 ? (distance < 0).logical_or_(distance >= window) : distance < 0;
}

}  // namespace

at::Tensor AttendWithSinks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& sinks, int64_t window, double scale) {
  const int64_t length = q.size(2);
  at::Tensor output = at::empty({q.size(0), q.size(1), length, v.size(3)}, v.options());
  for (int64_t first = 0; first < length; first += kQueries) {
    const int64_t last = std::min(first + kQueries, length);
    const int64_t begin = window > 0 ? std::max<int64_t>(0, first - window + 1) : 0;
    const at::Tensor unseen = Unseen(first, begin, last, window);
    for (int64_t n = 0; n < q.size(0); ++n) {
      for (int64_t head = 0; head < q.size(1); ++head) {
        const at::Tensor block =
            AttendBlock(q[n][head].slice(0, first, last), k[n][head].slice(0, begin, last),
                        v[n][head].slice(0, begin, last), sinks[head], unseen, scale);
        output[n][head].slice(0, first, last).copy_(block);
      }
    }
  }
  return output;
}

}  // namespace quantmoe
