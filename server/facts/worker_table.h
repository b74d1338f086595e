// The facts about connected workers. Not stored: after a restart workers report themselves.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace quantmoe {

struct WorkerFacts {
  std::string id;
  std::string device;
  std::string version;
  std::string instance;  // of the process
  std::string determinism_class;
  int threads = 0;
  int64_t memory_bytes = 0;
  bool shared_blobs = false;
  int credits = 0;        // tasks that it may be given now
  bool connected = true;  // false between a lost stream and the end of the lease
  bool draining = false;
  absl::Duration last_heard;  // monotonic
  absl::Time connect_time;
  int64_t tasks_done = 0;
  // Shortages since its last result: from the second one on it rests, so that it does not fail one task after
  // another that others could run.
  int shortages_in_row = 0;
  absl::Duration rests_until;  // monotonic
};

using WorkerTable = std::map<std::string, WorkerFacts, std::less<>>;

}  // namespace quantmoe
