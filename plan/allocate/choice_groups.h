// Groups of linears that share one width: what a runtime can load decides how large they are.
#pragma once

#include <vector>

#include "plan/allocate/distortion_table.h"
#include "plan/allocate/runtime_profile.h"

namespace quantmoe {

struct TableRow {
  const DistortionRow* row = nullptr;
  const PartTable* part = nullptr;
};

// Rows of all parts by (layer, part, expert, kind), whatever their order in the table. They point into
// `table`.
std::vector<TableRow> SortRows(const DistortionTable& table);

// kLinear: as fine as the profile allows. kExpert: the linears of an expert stay together, as rankings of
// experts need.
enum class Grain { kLinear, kExpert };

// Indexes of each group, ascending; groups in the order of their first member.
std::vector<std::vector<size_t>> GroupLinears(const std::vector<Linear>& linears,
                                              const RuntimeProfile& profile, Grain grain);
std::vector<std::vector<size_t>> GroupRows(const std::vector<TableRow>& rows, const RuntimeProfile& profile,
                                           Grain grain);

}  // namespace quantmoe
