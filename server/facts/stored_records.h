// From the bytes of stored rows to messages that the coordinator may rely on: what does not parse, names
// states that do not exist, or makes no graph is unreadable. One such row costs its job, never the others.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

#include "server/facts/state_store.h"

namespace quantmoe {

// A row of the table of jobs. When its record is unreadable the job is FAILED with DATA_LOSS
// RECORD_UNREADABLE.
StoredJob ReadJob(absl::string_view id, int64_t number, absl::string_view record);
// Appends the next task of a job, or marks the job as unreadable.
void ReadTask(absl::string_view definition, absl::string_view record, StoredJob& job);
// Call after the last task: what is left of an unreadable job cannot run.
void SettleUnreadable(StoredJob& job);

// An event that cannot be read has its number and nothing else, so that those after it are seen.
v1::JobEvent DecodeEvent(const StoredEvent& event);

}  // namespace quantmoe
