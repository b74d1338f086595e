// How a service program reads its flags and how it ends: one form of message, one set of exit codes for all.
//
// 0: done, 1: failed, 2: usage or invalid input.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace quantmoe {

// Reads flags, environment and --config. The exit code when the program must end now, after --help or
// because of a wrong flag, which is then named on standard error; nothing to go on.
std::optional<int> ParseFlags(CLI::App& app, int argc, const char* const* argv);

// INVALID_FIELD that names every flag or argument whose value is not UTF-8, the environment's and a
// --config's alike: names and labels travel in messages that refuse such bytes. Paths may have any: they are
// the values of options with the type name FILE, DIR or FILE|JOB, and what follows the "=" of NAME=FILE. Call
// it after parsing.
absl::Status CheckFlagTexts(const CLI::App& app);

// Prints why `program` failed, every bad field on a line of its own, and returns its exit code.
int ReportExit(absl::string_view program, const absl::Status& status);

}  // namespace quantmoe
