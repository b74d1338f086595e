// A parent process that keeps a worker alive: it starts the worker, and starts it again when it dies. It
// holds no connection and no model, so that nothing of what kills a worker can reach it.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace quantmoe {

struct SupervisorOptions {
  std::string program;               // a path
  std::vector<std::string> command;  // its name and arguments
  // The wait after a death: doubled with each one that follows soon.
  absl::Duration first_wait = absl::Seconds(1);
  absl::Duration longest_wait = absl::Minutes(1);
  // A worker that lived this long is no part of a series of deaths.
  absl::Duration long_life = absl::Minutes(5);
  // Deaths in a series after which the supervisor ends too.
  int most_deaths = 10;
};

// Runs the command until it ends by itself: with 0 (drained) or 2 (wrong flags), or because SIGTERM or SIGINT
// came, which are passed on. A death by a signal and exit code 1 start it again. The exit code of its last
// end; 128 plus the signal when that was a signal. Call it before there are other threads.
int Supervise(const SupervisorOptions& options);

}  // namespace quantmoe
