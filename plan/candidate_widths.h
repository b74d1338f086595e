// Which widths a job considers.
#pragma once

#include <string>
#include <vector>

namespace quantmoe {

// The asked widths, or those of the profile when none are asked, ascending.
std::vector<int> CandidateWidths(const std::vector<int>& widths, const std::string& profile);

}  // namespace quantmoe
