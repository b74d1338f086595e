#include "server/facts/attempt_history.h"

#include <algorithm>
#include <string>

#include "base/error_info.h"
#include "base/retry.h"

namespace quantmoe {
namespace {

server::WorkerFailures& EntryOf(server::TaskRecord& record, absl::string_view worker) {
  for (server::WorkerFailures& entry : *record.mutable_failures()) {
    if (entry.worker() == worker) return entry;
  }
  server::WorkerFailures& added = *record.add_failures();
  added.set_worker(std::string(worker));
  return added;
}

template <typename Count>
int Sum(const server::TaskRecord& record, Count count) {
  int sum = 0;
  for (const server::WorkerFailures& entry : record.failures()) sum += count(entry);
  return sum;
}

}  // namespace

Charge ChargeOf(const absl::Status& error) {
  const std::string reason = GetErrorInfo(error).reason;
  const bool passes = reason == "DISK_FULL" || reason == "BLOB_NOT_FOUND" || reason == "DIGEST_MISMATCH" ||
                      (IsRetryable(error) && reason != "DEVICE_FAILURE");
  return passes ? Charge::kShortage : Charge::kFault;
}

void RecordCharge(server::TaskRecord& record, Charge charge, absl::string_view worker) {
  if (charge == Charge::kMemory) {
    record.set_memory_failures(record.memory_failures() + 1);
  } else if (charge == Charge::kFault) {
    server::WorkerFailures& entry = EntryOf(record, worker);
    entry.set_faults(entry.faults() + 1);
  } else if (charge == Charge::kShortage) {
    server::WorkerFailures& entry = EntryOf(record, worker);
    entry.set_shortages(entry.shortages() + 1);
  }
}

void RecordDeath(server::TaskRecord& record, absl::string_view worker) {
  server::WorkerFailures& entry = EntryOf(record, worker);
  entry.set_deaths(entry.deaths() + 1);
}

int FailuresOn(const server::TaskRecord& record, absl::string_view worker) {
  const int died = WorkersThatDied(record).contains(std::string(worker)) ? 1 : 0;
  return died + Sum(record, [worker](const server::WorkerFailures& entry) {
           return entry.worker() == worker ? entry.faults() + entry.shortages() : 0;
         });
}

int Faults(const server::TaskRecord& record) {
  // An older coordinator counted without naming workers.
  return record.infrastructure_failures() +
         Sum(record, [](const server::WorkerFailures& entry) { return entry.faults(); });
}

int Shortages(const server::TaskRecord& record) {
  return Sum(record, [](const server::WorkerFailures& entry) { return entry.shortages(); });
}

int WorkersThatFailed(const server::TaskRecord& record) {
  return Sum(record, [](const server::WorkerFailures& entry) {
    return entry.faults() + entry.shortages() > 0 ? 1 : 0;
  });
}

int Deaths(const server::TaskRecord& record) {
  // Older coordinators counted without naming workers, and the oldest named them without counting.
  return std::max(record.deaths(), record.killed_workers_size()) +
         Sum(record, [](const server::WorkerFailures& entry) { return entry.deaths(); });
}

std::set<std::string> WorkersThatDied(const server::TaskRecord& record) {
  std::set<std::string> workers(record.killed_workers().begin(), record.killed_workers().end());
  for (const server::WorkerFailures& entry : record.failures()) {
    if (entry.deaths() > 0) workers.insert(entry.worker());
  }
  return workers;
}

}  // namespace quantmoe
