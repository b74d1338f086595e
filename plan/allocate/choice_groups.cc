#include "plan/allocate/choice_groups.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace quantmoe {
namespace {

// Rows with equal keys share one width: (layer, what, expert).
using GroupKey = std::tuple<int, int, int>;

// Projections that vLLM and SGLang fuse become one.
LinearKind Fused(LinearKind kind) {
  switch (kind) {
    case LinearKind::kKey:
    case LinearKind::kValue:
      return LinearKind::kQuery;
    case LinearKind::kKeyValueA:
      return LinearKind::kQueryA;
    case LinearKind::kDenseUp:
      return LinearKind::kDenseGate;
    case LinearKind::kSharedUp:
      return LinearKind::kSharedGate;
    default:
      return kind;
  }
}

GroupKey KeyOf(const Linear& linear, const RuntimeProfile& profile, Grain grain) {
  const int what = static_cast<int>(profile.fuses_projections ? Fused(linear.kind) : linear.kind);
  if (!IsExpert(linear.kind)) return {linear.layer, what, -1};
  const int all_of_expert = static_cast<int>(LinearKind::kExpertGate);
  switch (profile.experts) {
    case ExpertSharing::kModel:
      return {-1, all_of_expert, -1};
    case ExpertSharing::kLayer:
      return {linear.layer, all_of_expert, -1};
    case ExpertSharing::kNone:
      break;
  }
  return {linear.layer, grain == Grain::kExpert ? all_of_expert : what, linear.expert};
}

}  // namespace

std::vector<TableRow> SortRows(const DistortionTable& table) {
  std::vector<TableRow> rows;
  for (const PartTable& part : table.parts) {
    for (const DistortionRow& row : part.rows) rows.push_back({&row, &part});
  }
  const auto key = [](const TableRow& row) {
    const Linear& linear = row.row->linear;
    return std::tie(linear.layer, row.part->part, linear.expert, linear.kind, linear.name);
  };
  std::sort(rows.begin(), rows.end(),
            [&key](const TableRow& a, const TableRow& b) { return key(a) < key(b); });
  return rows;
}

namespace {

template <typename LinearAt>
std::vector<std::vector<size_t>> Group(size_t count, const RuntimeProfile& profile, Grain grain,
                                       LinearAt at) {
  std::map<GroupKey, size_t> index;
  std::vector<std::vector<size_t>> groups;
  for (size_t i = 0; i < count; ++i) {
    const auto [found, added] = index.try_emplace(KeyOf(at(i), profile, grain), groups.size());
    if (added) groups.emplace_back();
    groups[found->second].push_back(i);
  }
  return groups;
}

}  // namespace

std::vector<std::vector<size_t>> GroupLinears(const std::vector<Linear>& linears,
                                              const RuntimeProfile& profile, Grain grain) {
  return Group(linears.size(), profile, grain, [&](size_t i) -> const Linear& { return linears[i]; });
}

std::vector<std::vector<size_t>> GroupRows(const std::vector<TableRow>& rows, const RuntimeProfile& profile,
                                           Grain grain) {
  return Group(rows.size(), profile, grain, [&](size_t i) -> const Linear& { return rows[i].row->linear; });
}

}  // namespace quantmoe
