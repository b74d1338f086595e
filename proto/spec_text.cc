#include "proto/spec_text.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "base/byte_size.h"

namespace quantmoe {

std::string BudgetText(const v1::BitBudget& budget) {
  if (budget.has_average_bits()) return absl::StrFormat("%.2f bits", budget.average_bits());
  if (budget.has_stored_bits()) return absl::StrFormat("%.2f bits with scales", budget.stored_bits());
  if (budget.has_rank_bytes()) {
    return absl::StrFormat("%s on each of %d ranks", FormatByteSize(budget.rank_bytes().max_bytes()),
                           budget.rank_bytes().ranks());
  }
  return budget.has_max_bytes() ? FormatByteSize(budget.max_bytes()) : "";
}

std::string MapText(const google::protobuf::Map<std::string, std::string>& map) {
  const std::map<std::string, std::string> sorted(map.begin(), map.end());
  return absl::StrJoin(sorted, ", ", absl::PairFormatter("="));
}

std::string HeuristicText(const v1::Heuristic& heuristic) {
  const std::string params = MapText(heuristic.params());
  const std::string preset = heuristic.preset().empty() ? "" : absl::StrCat("preset ", heuristic.preset());
  const std::string name =
      absl::StrCat(heuristic.name(), heuristic.name().empty() || preset.empty() ? "" : ", ", preset);
  return params.empty() ? name : absl::StrCat(name, " (", params, ")");
}

}  // namespace quantmoe
