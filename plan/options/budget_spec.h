// How large the result may be: the message BitBudget of proto/quantmoe/v1/types.proto.
#pragma once

#include <cstdint>
#include <optional>

#include "plan/options/option.h"

namespace quantmoe {

inline constexpr int kMaxRanks = 1024;

// Bytes of tensors on the fullest of `ranks` expert-parallel ranks.
struct RankBudget {
  int64_t max_bytes = 0;
  int ranks = 0;

  friend bool operator==(const RankBudget&, const RankBudget&) = default;
};

template <SpecOf<RankBudget> Spec, typename Visit>
void VisitOptions(Spec& budget, Visit& visit) {
  visit(OptionInfo{.name = "max_bytes",
                   .flag = "--rank-bytes",
                   .group = HelpGroup::kBudget,
                   .help = "Bytes on the fullest of --ranks expert-parallel ranks",
                   .value = "SIZE",
                   .range = Above(0),
                   .kept = Kept::kAlways,
                   .typed = Typed::kAsSize},
        budget.max_bytes);
  visit(OptionInfo{.name = "ranks",
                   .flag = "--ranks",
                   .group = HelpGroup::kPlan,
                   .help = "Expert-parallel ranks that --rank-bytes is for",
                   .range = Between(1, kMaxRanks),
                   .kept = Kept::kAlways},
        budget.ranks);
}

// Exactly one member is set.
struct Budget {
  std::optional<double> average_bits;      // sum(bits * weights) / sum(weights), QuantMoE-Bench's definition
  std::optional<int64_t> max_bytes;        // of all weight files, headers included
  std::optional<double> stored_bits = {};  // bits of codes, scales, zeros and g_idx for each quantized weight
  std::optional<RankBudget> rank_bytes = {};

  int members_set() const {
    return int{average_bits.has_value()} + int{max_bytes.has_value()} + int{stored_bits.has_value()} +
           int{rank_bytes.has_value()};
  }
  friend bool operator==(const Budget&, const Budget&) = default;
};

template <SpecOf<Budget> Spec, typename Visit>
void VisitOptions(Spec& budget, Visit& visit) {
  visit(OptionInfo{.name = "average_bits",
                   .flag = "--bits",
                   .group = HelpGroup::kBudget,
                   .help = "Average width of the quantized linears, such as 3.0",
                   .range = AboveUpTo(0, 8),
                   .kept = Kept::kAlways},
        budget.average_bits);
  visit(OptionInfo{.name = "max_bytes",
                   .flag = "--bytes",
                   .group = HelpGroup::kBudget,
                   .help = "Size of the weight files, such as 10GiB",
                   .value = "SIZE",
                   .range = Above(0),
                   .kept = Kept::kAlways,
                   .typed = Typed::kAsSize},
        budget.max_bytes);
  visit(OptionInfo{.name = "stored_bits",
                   .flag = "--stored-bits",
                   .group = HelpGroup::kBudget,
                   .help = "Bits of codes, scales and zero points for each quantized weight",
                   .range = AboveUpTo(0, 16),
                   .kept = Kept::kAlways},
        budget.stored_bits);
  visit(OptionInfo{.name = "rank_bytes", .help = "Bytes of one expert-parallel rank", .kept = Kept::kAlways},
        budget.rank_bytes);
}

}  // namespace quantmoe
