// What of a job's spec people read on a line: in lists of jobs, on pages and in a terminal.
#pragma once

#include <string>

#include "quantmoe/v1/types.pb.h"

namespace quantmoe {

// "3.00 bits", "10.0 GiB" or "10.0 GiB on each of 4 ranks"; empty when none is asked for.
std::string BudgetText(const v1::BitBudget& budget);
// "outlier, preset NAME (count=2, share=0.01)"; empty when it is the default.
std::string HeuristicText(const v1::Heuristic& heuristic);
// "key=value, ..." in the order of the keys.
std::string MapText(const google::protobuf::Map<std::string, std::string>& map);

}  // namespace quantmoe
