// What a job will do that its author may not have meant.
#pragma once

#include <iostream>
#include <string>
#include <vector>

#include "base/text.h"

namespace quantmoe {

// On standard error, before the work starts.
inline void PrintWarnings(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings)
    std::cerr << "quantmoe-local: warning: " << OneLine(warning) << "\n";
}

}  // namespace quantmoe
