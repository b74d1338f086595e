// How a program reads its flags and how it ends: one form of message for all of them, one set of exit codes
// for the services.
//
// 0: done, 1: failed, 2: usage or invalid input.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace quantmoe {

// The innermost command that was chosen; `app` itself where there is none.
const CLI::App& ChosenCommand(const CLI::App& app);
// As it is typed: "quantmoe artifact download".
std::string CommandPath(const CLI::App& command);

// Reads flags, environment and --config. A value is the exit code with which the program must end now: after
// --help, or after standard error has named a wrong flag. Without a value the program goes on.
std::optional<int> ParseFlags(CLI::App& app, int argc, const char* const* argv);

// INVALID_FIELD that names every flag or argument whose value is not UTF-8, the environment's and a
// --config's alike: names and labels travel in messages that refuse such bytes. Paths may have any: they are
// the values of options with the type name FILE, DIR, FILE|JOB, OUT_FILE or OUT_DIR, and what follows the "="
// of NAME=FILE. Call it after parsing.
absl::Status CheckFlagTexts(const CLI::App& app);

// INVALID_FIELD for "--flag=", for which the parser would take the next argument, a flag that then does
// nothing. What follows "--" is no flag.
absl::Status CheckFlagsHaveValues(const std::vector<std::string>& arguments);

// Why `program` failed, as people read it: every bad field on a line of its own, then the reason. What comes
// from files and other programs cannot command a terminal.
std::string DescribeError(absl::string_view program, const absl::Status& status);

// Prints that and returns the exit code.
int ReportExit(absl::string_view program, const absl::Status& status);

// `code`, or the code of a failure that standard error names, when `out` could not take all that was printed.
// A reader that went away is no failure.
int FinishOutput(absl::string_view program, std::ostream& out, int code);

}  // namespace quantmoe
