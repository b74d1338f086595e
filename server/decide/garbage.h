// Which blobs are still needed. A blob is live while a job that has not ended refers to it, while it is the
// text of any job's spec or part of a report, and while a cached result that was used lately refers to it.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"

#include "server/facts/facts_recorder.h"
#include "server/facts/state_store.h"

namespace quantmoe {

// Marks live blobs and forgets cached results that nobody used since `oldest_use`. On the commit loop's
// thread.
absl::StatusOr<absl::flat_hash_set<std::string>> MarkLiveBlobs(FactsRecorder& facts, StateStore& store,
                                                               absl::Time oldest_use);

}  // namespace quantmoe
