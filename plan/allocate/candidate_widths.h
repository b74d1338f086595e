// Which widths a job considers.
#pragma once

#include <string>
#include <vector>

namespace quantmoe {

struct JobSpec;

// Those of the asked widths (all when none are asked) that the profile can load, ascending; may be empty.
std::vector<int> CandidateWidths(const std::vector<int>& widths, const std::string& profile);

// The candidates from the heuristic's floor on: what a plan may use.
std::vector<int> PlanWidths(const JobSpec& spec);

}  // namespace quantmoe
