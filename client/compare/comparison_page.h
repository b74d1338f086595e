// A comparison as one HTML page: no script, nothing from a network, light and dark as the reader's system is,
// tables that become cards on a phone.
#pragma once

#include <string>

#include "cli/comparison.h"

namespace quantmoe {

std::string ComparisonPage(const Comparison& comparison);

}  // namespace quantmoe
