// The command tree of `quantmoe` and one run of it.
#pragma once

#include <string>
#include <vector>

#include "client/commands/commands.h"

namespace quantmoe {

// Adds global flags and every command. `context` must outlive `app`.
void BuildCommandLine(CLI::App& app, CommandContext& context);

// Parses and runs; prints errors to context.err. `arguments` are those after the program's name. Returns the
// exit code (client/text/error_report.h).
int RunCommandLine(const std::vector<std::string>& arguments, CommandContext& context);

}  // namespace quantmoe
