// What a task has suffered, by worker: the one place that the budget of attempts, the choice of a worker and
// the rule about tasks that kill workers read from. Pure functions of the stored record.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/facts/state.pb.h"

namespace quantmoe {

// What an attempt that ended without a result costs.
enum class Charge {
  kNone,      // nobody's fault: a lease, a restart, a drain, a full disk of the coordinator
  kMemory,    // of the task: it needs more memory than the worker has
  kFault,     // of the worker: its device, its files, an error that nobody expected
  kShortage,  // of what the worker needs and may get later: room on its disk, the network, a blob
};

// Whether an error of the infrastructure is a kFault or a kShortage.
Charge ChargeOf(const absl::Status& error);

// Counts what an attempt on the worker cost.
void RecordCharge(server::TaskRecord& record, Charge charge, absl::string_view worker);
// Counts that the worker died while it ran the task.
void RecordDeath(server::TaskRecord& record, absl::string_view worker);
// Faults and shortages on one worker; that it died of the task counts as one more, however often it did.
int FailuresOn(const server::TaskRecord& record, absl::string_view worker);
// Over all workers.
int Faults(const server::TaskRecord& record);
int Shortages(const server::TaskRecord& record);
// Different workers on which the task met a fault or a shortage.
int WorkersThatFailed(const server::TaskRecord& record);
// Attempts that ended with the death of their worker.
int Deaths(const server::TaskRecord& record);
// Those workers, each once.
std::set<std::string> WorkersThatDied(const server::TaskRecord& record);

}  // namespace quantmoe
