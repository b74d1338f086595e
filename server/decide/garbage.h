// Which blobs are still needed. A blob is live while a job that has not ended refers to it, while it is the
// text of any job's spec or part of a report, and while a cached result that was used lately refers to it.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"

#include "server/facts/job_table.h"
#include "server/facts/state_store.h"

namespace quantmoe {

// What the facts say of a moment. Gathered on the commit loop, so it parses nothing.
struct LiveFacts {
  absl::flat_hash_set<std::string> blobs;  // SHA-256
  absl::flat_hash_set<std::string> keys;   // of tasks of jobs that have not ended
  std::vector<std::string> specs;          // JSON, of all jobs
};
LiveFacts GatherLiveFacts(const JobTable& jobs);

struct Garbage {
  absl::flat_hash_set<std::string> live;  // blobs that stay, SHA-256
  std::vector<std::string> unused;        // keys of cached results that nobody used since `oldest_use`
  std::vector<std::string> unreadable;    // keys of those that cannot be read
};
// Reads every cached result.
absl::StatusOr<Garbage> FindGarbage(LiveFacts facts, StateStore& store, absl::Time oldest_use) NEVER_ON_LOOP;

}  // namespace quantmoe
