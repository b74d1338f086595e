// What a person or a script sees of an error: lines on stderr and the exit code. The one place that maps
// reasons to advice.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Exit codes of `quantmoe`; part of its interface.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,         // the command or the watched job failed
  kExitInvalid = 2,        // usage, or input that the server refuses
  kExitCancelled = 3,      // the watched job was cancelled
  kExitUnavailable = 4,    // no server, or it did not answer in time
  kExitInterrupted = 130,  // Ctrl-C, as shells count it
};

ExitCode ExitCodeOf(const absl::Status& status);

// "quantmoe: MESSAGE", one such line for every bad field, a line with the reason, and one with advice where
// there is some.
std::string RenderError(const absl::Status& status, absl::string_view server);

// The same for scripts: a google.rpc.Status as one JSON document, like the `error` of a job.
std::string ErrorJson(const absl::Status& status);

}  // namespace quantmoe
