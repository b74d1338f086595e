#include "server/loop/task_attempts.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"
#include "base/log.h"
#include "proto/grpc_status.h"
#include "server/facts/random_id.h"
#include "server/facts/resource_names.h"
#include "server/facts/task_rows.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kNackDelay = absl::Seconds(1);
// One worker may die of anything; a second one that dies of the same task does not.
constexpr int kFewestPoisonDeaths = 2;

bool SameOutputs(const Task& task, const v1::CompleteTaskRequest& request) {
  return std::equal(task.outputs().begin(), task.outputs().end(), request.outputs().begin(),
                    request.outputs().end(), [](const BlobRef& a, const v1::TaskBlob& b) {
                      return a.role == b.role() && a.digest == FromProto(b.digest());
                    });
}

std::string AttemptLabel(v1::TaskChanged::Outcome outcome) {
  if (outcome == v1::TaskChanged::LOST) return "lost";
  return outcome == v1::TaskChanged::RETURNED ? "returned" : "failed";
}

// `killed_worker` is the last one that died of it, when the record does not tell yet.
google::rpc::Status PoisonStatus(const Task& task, absl::string_view killed_worker) {
  std::set<std::string> workers = WorkersThatDied(task.record);
  int deaths = Deaths(task.record);
  if (!killed_worker.empty()) {
    workers.emplace(killed_worker);
    ++deaths;
  }
  const std::string names = absl::StrJoin(workers, ", ");
  const bool once_each = static_cast<int>(workers.size()) == deaths;
  const std::string what = once_each
                               ? absl::StrCat(deaths, " workers died while they ran it: ", names)
                               : absl::StrCat("a worker died ", deaths, " times while it ran it: ", names);
  return ToRpcStatus(MakeError(absl::StatusCode::kFailedPrecondition, "TASK_KILLS_WORKERS", what,
                               {{"workers", names}, {"deaths", absl::StrCat(deaths)}}));
}

google::rpc::Status LostStatus(absl::string_view why) {
  return ToRpcStatus(MakeError(absl::StatusCode::kUnavailable, "WORKER_LOST", why));
}

}  // namespace

void TaskAttempts::Assign(const Assignment& assignment) {
  const Job& job = *facts_.table().Find(assignment.job);
  const Task& task = *job.Find(assignment.task);
  const absl::StatusOr<std::vector<BlobRef>> inputs = job.graph.InputsOf(*task.node);
  if (!inputs.ok()) return jobs_.Fail(assignment.job, inputs.status());
  const absl::Duration now = clock_.Monotonic();
  metrics_.TaskWaited(task.kind(), now - task.ready_at);
  const std::string token = absl::StrCat(term_, ".", task.record.attempts() + 1, ".", RandomHex(/*bytes=*/8));
  facts_.Apply(TaskStarted{assignment.job, assignment.task, assignment.worker, token, clock_.Now(), now});
  jobs_.MarkRunning(assignment.job);
  workers_.TakeCredit(assignment.worker);

  v1::CoordinatorMessage message;
  v1::Assign& assign = *message.mutable_assign();
  assign.set_token(token);
  assign.mutable_task()->set_task(TaskName(assignment.job, assignment.task));
  assign.mutable_task()->set_kind(std::string(TaskKindName(task.kind())));
  assign.mutable_task()->set_params_json(task.definition().params_json);
  const std::vector<v1::TaskBlob> blobs = ToProto(*inputs);
  assign.mutable_task()->mutable_inputs()->Assign(blobs.begin(), blobs.end());
  assign.mutable_task()->set_memory_bytes(task.definition().memory_bytes);
  workers_.Send(assignment.worker, std::move(message));
}

absl::StatusOr<v1::CompleteTaskResponse::Outcome> TaskAttempts::Complete(
    const v1::CompleteTaskRequest& request) {
  const std::optional<TaskRef> ref = ParseTaskName(request.attempt().task());
  const Task* task = ref.has_value() ? facts_.table().FindTask(ref->job, ref->task) : nullptr;
  if (task == nullptr) {
    metrics_.CommitFenced("task_gone");
    return v1::CompleteTaskResponse::STALE;
  }
  const bool current =
      !request.attempt().token().empty() && task->record.token() == request.attempt().token();
  if (current && task->record.state() == v1::Task::DONE) {
    if (SameOutputs(*task, request)) return v1::CompleteTaskResponse::ALREADY_COMMITTED;
    metrics_.ResultsDiffer();
    return v1::CompleteTaskResponse::STALE;
  }
  if (!current || task->record.state() != v1::Task::RUNNING) {
    metrics_.CommitFenced(current ? "state" : "token");
    return v1::CompleteTaskResponse::STALE;
  }
  const std::string& wanted = facts_.table().Find(ref->job)->record.determinism_class();
  if (!request.determinism_class().empty() && request.determinism_class() != wanted) {
    return MakeError(absl::StatusCode::kInvalidArgument, "DETERMINISM_CLASS_MISMATCH",
                     absl::StrCat("the job is bound to class ", wanted, ", the result is of class ",
                                  request.determinism_class()));
  }
  const TaskKind kind = task->kind();
  const std::string key = task->key();
  const std::vector<v1::TaskBlob> outputs(request.outputs().begin(), request.outputs().end());
  metrics_.AttemptEnded(kind, "committed");
  metrics_.TaskRan(kind, clock_.Monotonic() - task->started_at);
  if (auto worker = workers_.table().find(task->record.worker()); worker != workers_.table().end()) {
    ++worker->second.tasks_done;
    worker->second.shortages_in_row = 0;
    worker->second.rests_until = absl::ZeroDuration();
  }
  facts_.Apply(TaskDone{ref->job, ref->task, outputs, /*cached=*/false, request.seconds(), clock_.Now()});
  facts_.AppendLog(ref->job, TaskEvent(*task, v1::TaskChanged::COMMITTED));
  if (!key.empty()) facts_.RememberResult(key, outputs);
  jobs_.FollowUp(ref->job, ref->task);
  jobs_.SettleCancellation(ref->job);
  for (const TaskRef& equal : facts_.table().ReadyWithKey(key)) {
    const Task* waiting = facts_.table().FindTask(equal.job, equal.task);
    if (waiting->record.state() == v1::Task::READY) jobs_.FinishFromCache(equal.job, equal.task, outputs);
  }
  return v1::CompleteTaskResponse::COMMITTED;
}

void TaskAttempts::Fail(const v1::FailTaskRequest& request) {
  TaskRef ref;
  const Task* task = FindRunning(request.attempt(), ref);
  if (task == nullptr) return;
  // What was cancelled or given back by a worker that drains is no failure.
  const bool wanted = request.failure_class() == v1::FailTaskRequest::DRAINED ||
                      facts_.table().Find(ref.job)->record.state() == v1::Job::CANCELLING;
  Log(wanted ? LogLevel::kInfo : LogLevel::kWarning, wanted ? "attempt stopped" : "attempt failed",
      {{"task", request.attempt().task()},
       {"worker", request.worker_id()},
       {"class", v1::FailTaskRequest::FailureClass_Name(request.failure_class())},
       {"error", request.error().message()}});
  google::rpc::Status error = request.error();
  if (error.code() == 0)
    error = ToRpcStatus(MakeError(absl::StatusCode::kUnknown, "UNKNOWN", "no reason was given"));
  switch (request.failure_class()) {
    case v1::FailTaskRequest::PERMANENT:
    case v1::FailTaskRequest::NUMERIC:
      return EndForGood(ref, error, request.seconds());
    case v1::FailTaskRequest::OUT_OF_MEMORY:
      return Retry(ref, Charge::kMemory, error, request.seconds(), v1::TaskChanged::FAILED);
    case v1::FailTaskRequest::DRAINED:
      return Retry(ref, Charge::kNone, {}, request.seconds(), v1::TaskChanged::RETURNED);
    default:
      return FailOfInfrastructure(request, ref, error);
  }
}

void TaskAttempts::FailOfInfrastructure(const v1::FailTaskRequest& request, const TaskRef& ref,
                                        const google::rpc::Status& error) {
  const absl::Status status = FromRpcStatus(error);
  const Task& task = *facts_.table().FindTask(ref.job, ref.task);
  if (IsDiskUnusable(status) && IsOfCoordinator(status, task.record.worker())) {
    jobs_.disk().NoteFailure(status);
    return Retry(ref, Charge::kNone, error, request.seconds(), v1::TaskChanged::FAILED);
  }
  if (!IsLostBlob(status)) {
    return Retry(ref, ChargeOf(status), error, request.seconds(), v1::TaskChanged::FAILED);
  }
  // The attempt stays the current one until it is known whether the worker or the store has lost the blob.
  const std::string named = GetErrorInfo(status).metadata["sha256"];
  jobs_.CheckInputs(ref.job, ref.task, named, [this, request, error](const BlobCheck& check) {
    loop_thread.AssertHeld();
    TaskRef failed;
    if (FindRunning(request.attempt(), failed) == nullptr) return;
    const bool lost = (!check.lost.empty() || check.restored) && check.indirect.empty();
    Retry(failed, lost ? Charge::kNone : Charge::kShortage, error, request.seconds(),
          v1::TaskChanged::FAILED);
    if (!check.lost.empty()) jobs_.Reopen(failed.job, check.lost, check.indirect);
  });
}

bool TaskAttempts::IsOfCoordinator(const absl::Status& unusable, const std::string& worker) const {
  const auto facts = workers_.table().find(worker);
  const std::map<std::string, std::string> metadata = GetErrorInfo(unusable).metadata;
  const auto place = metadata.find("place");
  return (place != metadata.end() && place->second == "coordinator") ||
         (facts != workers_.table().end() && facts->second.shared_blobs);
}

void TaskAttempts::Retry(const TaskRef& ref, Charge charge, const google::rpc::Status& error, double seconds,
                         v1::TaskChanged::Outcome outcome, absl::string_view killed_worker) {
  const Job& job = *facts_.table().Find(ref.job);
  const Task& task = *job.Find(ref.task);
  const server::TaskRecord& record = task.record;
  Task charged = task;
  RecordCharge(charged.record, charge, record.worker());
  const absl::Duration now = clock_.Monotonic();
  const bool exhausted = charge != Charge::kNone && IsExhausted(job, charged, workers_.table(), limits_, now);
  if (job.record.state() != v1::Job::CANCELLING) {
    if (IsPoison(task, killed_worker)) return EndForGood(ref, PoisonStatus(task, killed_worker), seconds);
    if (exhausted) return EndForGood(ref, error, seconds);
  }
  metrics_.AttemptEnded(task.kind(), AttemptLabel(outcome));

  TaskReleased released{ref.job, ref.task, charge, seconds, 0, error, now, std::string(killed_worker)};
  // The coordinator looks at its disk meanwhile, which a worker may see as it is not.
  if (charge == Charge::kNone && IsDiskUnusable(FromRpcStatus(error))) released.run_after += kNackDelay;
  if (charge == Charge::kFault || charge == Charge::kShortage)
    released.run_after += RetryDelay(Faults(charged.record) + Shortages(charged.record));
  if (!killed_worker.empty()) released.run_after += RetryDelay(Deaths(task.record) + 1);
  const auto worker = workers_.table().find(record.worker());
  if (charge == Charge::kShortage && worker != workers_.table().end()) Rest(worker->second, now);
  if (charge == Charge::kMemory && worker != workers_.table().end()) {
    released.exhausted_memory_bytes = worker->second.memory_bytes;
  }
  v1::JobEvent event = TaskEvent(task, outcome);
  if (error.code() != 0) *event.mutable_task_changed()->mutable_error() = error;
  facts_.AppendLog(ref.job, std::move(event));
  facts_.Apply(released);
  AfterEnd(ref);
}

void TaskAttempts::Rest(WorkerFacts& worker, absl::Duration now) {
  if (++worker.shortages_in_row > 1) worker.rests_until = now + RetryDelay(worker.shortages_in_row - 1);
}

void TaskAttempts::EndForGood(const TaskRef& ref, const google::rpc::Status& error, double seconds) {
  const Task& task = *facts_.table().FindTask(ref.job, ref.task);
  metrics_.AttemptEnded(task.kind(), "failed");
  Log(LogLevel::kError, "task failed for good",
      {{"job", ref.job}, {"task", ref.task}, {"worker", task.record.worker()}, {"error", error.message()}});
  facts_.Apply(TaskEnded{ref.job, ref.task, v1::Task::FAILED, seconds, error, clock_.Now()});
  facts_.AppendLog(ref.job, TaskEvent(task, v1::TaskChanged::FAILED));
  if (facts_.table().Find(ref.job)->record.state() == v1::Job::CANCELLING) return AfterEnd(ref);
  jobs_.Fail(ref.job, Annotate(FromRpcStatus(error), absl::StrCat("task ", ref.task)));
}

void TaskAttempts::AfterEnd(const TaskRef& ref) {
  if (facts_.table().Find(ref.job)->record.state() != v1::Job::CANCELLING) return;
  const Task& task = *facts_.table().FindTask(ref.job, ref.task);
  if (task.record.state() == v1::Task::READY) {
    facts_.Apply(TaskEnded{ref.job, ref.task, v1::Task::CANCELLED, 0, {}, clock_.Now()});
  }
  jobs_.SettleCancellation(ref.job);
}

void TaskAttempts::Nack(const v1::AttemptRef& attempt, const google::rpc::Status& reason) {
  TaskRef ref;
  const Task* task = FindRunning(attempt, ref);
  if (task == nullptr) return;
  metrics_.AttemptEnded(task->kind(), "refused");
  facts_.Apply(TaskReleased{ref.job, ref.task, Charge::kNone, 0, 0, reason, clock_.Monotonic() + kNackDelay});
  AfterEnd(ref);
}

void TaskAttempts::Acknowledge(const v1::AttemptRef& attempt) {
  TaskRef ref;
  if (FindRunning(attempt, ref) != nullptr) facts_.Apply(TaskAcknowledged{ref.job, ref.task});
}

bool TaskAttempts::Adopt(const v1::AttemptRef& attempt, const std::string& worker) {
  TaskRef ref;
  if (FindRunning(attempt, ref) == nullptr) return false;
  facts_.Apply(TaskAdopted{ref.job, ref.task, worker});
  metrics_.TaskAdopted();
  return true;
}

void TaskAttempts::Lose(const TaskRef& ref, absl::string_view why) {
  Retry(ref, Charge::kNone, LostStatus(why), 0, v1::TaskChanged::LOST);
}

void TaskAttempts::TakeAway(const TaskRef& ref, absl::string_view why) {
  Retry(ref, Charge::kFault, LostStatus(why), 0, v1::TaskChanged::LOST);
}

void TaskAttempts::LoseAllOf(const std::string& worker, const std::vector<TaskRef>& tasks,
                             absl::string_view why) {
  const std::optional<TaskRef> suspect = FindSuspect(facts_.table(), worker);
  for (const TaskRef& ref : tasks) {
    // The end of one may have ended the job of the next.
    if (facts_.table().FindTask(ref.job, ref.task)->record.state() != v1::Task::RUNNING) continue;
    Retry(ref, Charge::kNone, LostStatus(why), 0, v1::TaskChanged::LOST, ref == suspect ? worker : "");
  }
}

bool TaskAttempts::IsPoison(const Task& task, absl::string_view killed_worker) const {
  return !killed_worker.empty() && limits_.poison_deaths != 0 &&
         Deaths(task.record) + 1 >= limits_.poison_deaths;
}

bool TaskAttempts::EndPoisoned(const Job& job) {
  if (limits_.poison_deaths == 0) return false;
  for (const auto& [height, index] : job.graph.ready()) {
    const Task& task = job.tasks[index];
    if (Deaths(task.record) < kFewestPoisonDeaths) continue;
    EndForGood({job.record.id(), task.label()}, PoisonStatus(task, ""), /*seconds=*/0);
    return true;
  }
  return false;
}

void TaskAttempts::Return(const TaskRef& ref) { Retry(ref, Charge::kNone, {}, 0, v1::TaskChanged::RETURNED); }

const Task* TaskAttempts::FindRunning(const v1::AttemptRef& attempt, TaskRef& ref) const {
  const std::optional<TaskRef> parsed = ParseTaskName(attempt.task());
  if (!parsed.has_value() || attempt.token().empty()) return nullptr;
  ref = *parsed;
  const Task* task = facts_.table().FindTask(ref.job, ref.task);
  const bool current =
      task != nullptr && task->record.state() == v1::Task::RUNNING && task->record.token() == attempt.token();
  return current ? task : nullptr;
}

}  // namespace quantmoe
