// How a uniform plan is called beside other plans of one budget. A width that no budget allows a little more
// of leaves bytes unspent, and a comparison must not hide that.
#pragma once

#include <string>

namespace quantmoe {

// "uniform-3", or "uniform-2 (fewer bytes)" when its average is below `spent`, the most that a plan of the
// budget has. `width` 0: rules keep linears at other widths, "uniform".
std::string UniformLabel(int width, double average_bits, double spent);

// What a uniform plan is compared with where it leaves bytes unspent: the same width, and the next larger one
// for the first layers.
inline constexpr char kEqualBytesControl[] = "in-order";

}  // namespace quantmoe
