// The last words of a process that a signal or an exception that nobody caught ends: the stack, and after it
// one line of the log that says which signal or what the exception says, and what the process was doing.
// Everything that runs on a signal is async-signal-safe.
#pragma once

#include "absl/strings/string_view.h"

namespace quantmoe {

// Call once at the start of main, in every program, before threads and before anything else sets signal
// handlers. `program` is argv[0]. SIGTERM stays as it is. A write past a limit of the sizes of files fails
// with EFBIG from now on and ends nothing.
void InstallCrashReport(const char* program);

// Gives the calling thread a stack of its own for signal handlers, so that an overflow of its stack is
// reported too. Does nothing when it has one. The main thread has one from InstallCrashReport.
void ReportStackOverflowOfThisThread();

// While it lives, a crash of the thread that made it says that it was doing this, such as
// "jobs/a/tasks/solve-l0-p0"; a crash of a thread that made none, as those of a parallel loop, names all that
// live. What is longer than 200 bytes is cut; what would be the seventeenth at a time is left out.
class CrashContext {
 public:
  explicit CrashContext(absl::string_view activity);
  ~CrashContext();
  CrashContext(const CrashContext&) = delete;
  CrashContext& operator=(const CrashContext&) = delete;

 private:
  int slot_ = -1;
  int outer_ = -1;  // the slot that this thread had
};

}  // namespace quantmoe
