#include "plan/allocate/column_order.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"

namespace quantmoe {

absl::string_view ColumnOrderName(ColumnOrder order) {
  constexpr absl::string_view kNames[] = {"natural", "activation", "group"};
  return kNames[static_cast<int>(order)];
}

absl::StatusOr<ColumnOrder> ParseColumnOrder(absl::string_view name) {
  for (const ColumnOrder order : {ColumnOrder::kNatural, ColumnOrder::kActivation, ColumnOrder::kGroup}) {
    if (name == ColumnOrderName(order)) return order;
  }
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT",
                   absl::StrCat("unknown column order \"", name, "\": natural, activation or group"));
}

}  // namespace quantmoe
