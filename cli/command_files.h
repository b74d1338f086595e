// The files that a command line names: nothing that a command reads may be overwritten by what it writes.
// Every value of a flag counts as a path that is read, unless the flag's type says that it is none, so that a
// new flag cannot be forgotten; flags of outputs are marked by their type.
#pragma once

#include <vector>

#include "absl/status/status.h"

#include "storage/output_directory.h"

namespace CLI {
class App;
}

namespace quantmoe {

// Types (CLI::Option::type_name) of flags that name what a command writes.
inline constexpr char kOutputFile[] = "OUT_FILE";
inline constexpr char kOutputFolder[] = "OUT_DIR";

// Of the parsed commands of `app`, before any work: an output file may be written (CheckOutputFile) and is
// none of what is read, an output folder neither is, holds nor lies in such a thing, and no output is, holds
// or lies in another. `read` adds what no flag names. INVALID_FIELD names the flags of outputs. What an
// output folder may replace is for CheckOutputDirectory.
absl::Status CheckCommandFiles(const CLI::App& app, const std::vector<ReadFolder>& read = {});

}  // namespace quantmoe
