#include "server/loop/worker_sessions.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/log.h"
#include "proto/proto_time.h"
#include "server/facts/random_id.h"
#include "server/facts/resource_names.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

// Steps of the coordinator that take no longer are not worth a word.
constexpr absl::Duration kLongStep = absl::Seconds(2);
constexpr int kTicksOfGrace = 4;

// A job that nobody can serve waits for one thing, whatever is missing at the moment.
bool IsSameWait(v1::Waiting::Cause before, v1::Waiting::Cause now) {
  return before == now || (IsUnschedulable(before) && IsUnschedulable(now));
}

}  // namespace

WorkerSessions::WorkerSessions(Options options, FactsRecorder& facts, JobLifecycle& jobs,
                               TaskAttempts& attempts, WorkerLinks& workers, Metrics& metrics,
                               const Clock& clock)
    : options_(std::move(options)),
      facts_(facts),
      jobs_(jobs),
      attempts_(attempts),
      workers_(workers),
      metrics_(metrics),
      clock_(clock) {}

void WorkerSessions::Hello(const v1::Hello& hello, const std::shared_ptr<WorkerLink>& link) {
  const std::string& id = hello.worker_id();
  if (BelongsToAnother(hello, link)) {
    Log(LogLevel::kWarning, "a second worker of the same id was refused", {{"worker", id}});
    return link->Close(
        MakeError(absl::StatusCode::kAlreadyExists, "WORKER_ID_IN_USE",
                  absl::StrCat("another worker is connected as ", id, ": give each one its own --worker-id"),
                  {{"worker", id}}));
  }
  if (const auto older = workers_.Find(id); older != nullptr && older != link) {
    older->Close(
        MakeError(absl::StatusCode::kAborted, "SESSION_REPLACED", "a newer session of this worker opened"));
  }
  KeepFacts(hello);
  workers_.Connect(id, link);
  // One that dies before the next tick was there all the same: what waited for workers waits anew.
  std::erase_if(waits_, [](const auto& wait) {
    return wait.second.cause == v1::Waiting::NO_WORKER || wait.second.cause == v1::Waiting::WORKERS_DIED;
  });
  Log(LogLevel::kInfo, "worker connected",
      {{"worker", id}, {"device", hello.device()}, {"held", hello.held_size()}});
  SendWelcome(id);
  TakeUpHeld(hello);
  CrashPoint("after-hello");
}

// Of an earlier session of the worker remain what it has done and whether it shall end.
void WorkerSessions::KeepFacts(const v1::Hello& hello) {
  WorkerFacts& facts = workers_.table()[hello.worker_id()];
  facts = {.id = hello.worker_id(),
           .device = hello.device(),
           .version = hello.version(),
           .instance = hello.instance(),
           .determinism_class = hello.determinism_class(),
           .threads = hello.threads(),
           .memory_bytes = hello.memory_bytes(),
           .shared_blobs = hello.shared_blobs(),
           .credits = hello.credits(),
           .connected = true,
           .draining = facts.draining,
           .last_heard = clock_.Monotonic(),
           .connect_time = clock_.Now(),
           .tasks_done = facts.tasks_done,
           .shortages_in_row = 0,
           .rests_until = absl::ZeroDuration()};
}

void WorkerSessions::SendWelcome(const std::string& worker) {
  v1::CoordinatorMessage message;
  v1::Welcome& welcome = *message.mutable_welcome();
  welcome.set_session_id(RandomHex(/*bytes=*/8));
  welcome.set_term(options_.term);
  welcome.set_lease_seconds(absl::ToDoubleSeconds(options_.limits.lease));
  welcome.set_heartbeat_seconds(absl::ToDoubleSeconds(options_.limits.heartbeat));
  welcome.set_blob_dir(options_.blob_dir);
  welcome.set_blob_dir_probe(options_.blob_dir_probe);
  welcome.set_blob_dir_probe_text(options_.blob_dir_probe_text);
  workers_.Send(worker, std::move(message));
}

// Attempts that go on in the new session; what the worker holds of others it drops, and what it lost is lost.
void WorkerSessions::TakeUpHeld(const v1::Hello& hello) {
  std::set<TaskRef> held;
  for (const v1::AttemptRef& attempt : hello.held()) {
    TaskRef ref;
    if (attempts_.FindRunning(attempt, ref) == nullptr) {
      workers_.SendDrop(hello.worker_id(), attempt.task(), attempt.token());
    } else if (attempts_.Adopt(attempt, hello.worker_id())) {
      held.insert(ref);
    }
  }
  LoseAllBut(held, hello.worker_id());
}

bool WorkerSessions::BelongsToAnother(const v1::Hello& hello, const std::shared_ptr<WorkerLink>& link) const {
  const auto known = workers_.table().find(hello.worker_id());
  return known != workers_.table().end() && known->second.connected &&
         known->second.instance != hello.instance() && workers_.Find(hello.worker_id()) != link;
}

void WorkerSessions::LoseAllBut(const std::set<TaskRef>& held, const std::string& worker) {
  std::vector<TaskRef> lost;
  for (const TaskRef& ref : facts_.table().RunningOn(worker)) {
    if (held.contains(ref)) continue;
    // An assignment that was never acknowledged was lost on the way: nobody's fault.
    const bool received = facts_.table().FindTask(ref.job, ref.task)->acknowledged;
    received ? lost.push_back(ref) : attempts_.Return(ref);
  }
  attempts_.LoseAllOf(worker, lost, absl::StrCat("worker ", worker, " came back without the task"));
}

void WorkerSessions::Receive(const std::string& worker, const std::shared_ptr<WorkerLink>& link,
                             const v1::WorkerMessage& message) {
  auto facts = workers_.table().find(worker);
  if (facts == workers_.table().end() || workers_.Find(worker) != link) {
    // The lease ran out while the stream stayed open: the worker must say hello again.
    link->Close(MakeError(absl::StatusCode::kAborted, "SESSION_EXPIRED", "the lease ran out"));
    return;
  }
  facts->second.last_heard = std::max(facts->second.last_heard, link->heard_at());
  switch (message.message_case()) {
    case v1::WorkerMessage::kHeartbeat:
      return Heartbeat(facts->second, message.heartbeat());
    case v1::WorkerMessage::kTaskAck:
      return attempts_.Acknowledge(message.task_ack().attempt());
    case v1::WorkerMessage::kTaskNack:
      facts->second.credits = 0;  // until it says otherwise
      return attempts_.Nack(message.task_nack().attempt(), message.task_nack().reason());
    case v1::WorkerMessage::kSetCredits:
      facts->second.credits = message.set_credits().credits();
      return;
    case v1::WorkerMessage::kDrainRequest:
      facts->second.draining = true;
      return;
    case v1::WorkerMessage::kGoodbye:
      for (const TaskRef& ref : facts_.table().RunningOn(worker)) attempts_.Return(ref);
      return Remove(worker, "goodbye");
    default:
      return;
  }
}

void WorkerSessions::Heartbeat(WorkerFacts& worker, const v1::WorkerHeartbeat& heartbeat) {
  v1::CoordinatorMessage message;
  message.mutable_heartbeat_ack()->set_seq(heartbeat.seq());
  workers_.Send(worker.id, std::move(message));
  WatchProgress(worker.id, heartbeat);
  ReturnUndelivered(worker.id, heartbeat);
}

void WorkerSessions::WatchProgress(const std::string& worker, const v1::WorkerHeartbeat& heartbeat) {
  const absl::Duration now = clock_.Monotonic();
  for (const v1::RunningAttempt& running : heartbeat.running()) {
    TaskRef ref;
    const Task* task = attempts_.FindRunning(running.attempt(), ref);
    if (task == nullptr) {
      workers_.SendDrop(worker, running.attempt().task(), running.attempt().token());
      continue;
    }
    if (!task->acknowledged) facts_.Apply(TaskAcknowledged{ref.job, ref.task});
    if (facts_.table().Find(ref.job)->record.state() == v1::Job::CANCELLING) {
      workers_.SendCancel(worker, running.attempt().task(), running.attempt().token(),
                          "the job is cancelled");
    }
    auto [known, is_new] =
        progress_.try_emplace(running.attempt().token(), Progress{running.progress_ticks(), now});
    if (known->second.ticks != running.progress_ticks()) known->second = {running.progress_ticks(), now};
    if (now - known->second.since < options_.no_progress_timeout) continue;
    progress_.erase(known);
    workers_.SendCancel(worker, running.attempt().task(), running.attempt().token(), "no progress");
    attempts_.TakeAway(ref, absl::StrCat("no progress on worker ", worker));
  }
}

void WorkerSessions::ReturnUndelivered(const std::string& worker, const v1::WorkerHeartbeat& heartbeat) {
  std::set<std::string> tokens;
  for (const v1::RunningAttempt& running : heartbeat.running()) tokens.insert(running.attempt().token());
  for (const TaskRef& ref : facts_.table().RunningOn(worker)) {
    const Task& task = *facts_.table().FindTask(ref.job, ref.task);
    const bool late = clock_.Monotonic() - task.started_at > options_.limits.lease;
    if (!task.acknowledged && late && !tokens.contains(task.record.token())) attempts_.Return(ref);
  }
}

void WorkerSessions::Disconnected(const std::string& worker, const std::shared_ptr<WorkerLink>& link) {
  if (workers_.Find(worker) != link) return;
  workers_.Disconnect(worker);
  if (auto facts = workers_.table().find(worker); facts != workers_.table().end())
    facts->second.connected = false;
  Log(LogLevel::kInfo, "worker disconnected", {{"worker", worker}});
}

absl::Status WorkerSessions::Drain(const std::string& worker) {
  auto facts = workers_.table().find(worker);
  if (facts == workers_.table().end()) {
    return MakeError(absl::StatusCode::kNotFound, "WORKER_NOT_FOUND",
                     absl::StrCat("there is no worker ", worker));
  }
  facts->second.draining = true;
  v1::CoordinatorMessage message;
  message.mutable_drain();
  workers_.Send(worker, std::move(message));
  return absl::OkStatus();
}

void WorkerSessions::Tick() {
  const absl::Duration now = clock_.Monotonic();
  ExpireLeases(now);
  if (recovering_ && now >= recovery_until_) EndRecovery();
  std::erase_if(progress_, [&](const auto& entry) {
    return now - entry.second.since > 2 * options_.no_progress_timeout;
  });
  ExplainJobs();
}

void WorkerSessions::ExpireLeases(absl::Duration now) {
  // A coordinator that stood still itself has heard nobody: what came meanwhile is taken in first.
  if (now - last_tick_ > options_.limits.lease / 2) ticks_of_grace_ = kTicksOfGrace;
  last_tick_ = now;
  workers_.NoteArrivals();
  if (ticks_of_grace_ > 0) {
    --ticks_of_grace_;
    return;
  }
  for (const std::string& worker : ExpiredWorkers(workers_.table(), options_.limits, now)) {
    CrashPoint("lease-sweep");
    const bool connected = workers_.table().at(worker).connected;
    const std::vector<TaskRef> lost = facts_.table().RunningOn(worker);
    const std::string why = absl::StrCat("the lease of worker ", worker, " ran out");
    for (size_t i = 0; i < lost.size(); ++i) metrics_.LeaseExpired();
    if (connected) {  // frozen or cut off, not dead
      for (const TaskRef& ref : lost) attempts_.Lose(ref, why);
    } else {
      attempts_.LoseAllOf(worker, lost, why);
    }
    Remove(worker, connected ? "silent" : "disconnected");
  }
}

void WorkerSessions::Remove(const std::string& worker, absl::string_view cause) {
  workers_.table().erase(worker);
  if (const auto link = workers_.Find(worker); link != nullptr) {
    link->Close(cause == "goodbye"
                    ? absl::OkStatus()
                    : MakeError(absl::StatusCode::kAborted, "SESSION_EXPIRED", "the lease ran out"));
  }
  workers_.Disconnect(worker);
  if (cause != "goodbye") metrics_.WorkerLost(cause);
  Log(LogLevel::kInfo, "worker removed", {{"worker", worker}, {"cause", cause}});
}

void WorkerSessions::Dispatch() {
  if (jobs_.disk().unusable()) return;  // a task that starts would fail to store its results
  const absl::Duration now = clock_.Monotonic();
  // A job that is bound looks for earlier results first, and leaves the worker to another.
  while (true) {
    const Schedule schedule = MakeSchedule(facts_.table(), workers_.table(), options_.limits, now);
    for (const Binding& binding : schedule.bindings) jobs_.Bind(binding.job, binding.determinism_class);
    for (const Assignment& assignment : schedule.assignments) {
      const Task* task = facts_.table().FindTask(assignment.job, assignment.task);
      if (task->record.state() == v1::Task::READY) attempts_.Assign(assignment);
    }
    if (schedule.bindings.empty()) return;
  }
}

void WorkerSessions::BeginRecovery() {
  recovering_ = true;
  recovery_until_ = clock_.Monotonic() + options_.limits.lease;
  CrashPoint("recovery-begun");
}

void WorkerSessions::AfterReload() {
  jobs_.Resume();
  // A worker may have been removed in the batch that failed, and its tasks run again by the facts.
  BeginRecovery();
}

void WorkerSessions::KeepProbe() const {
  const std::string path = absl::StrCat(options_.blob_dir, "/", options_.blob_dir_probe);
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) || !MakeDirs(options_.blob_dir).ok()) return;
  // What fails is tried at the next look.
  (void)WriteFileDurably(path, options_.blob_dir_probe_text);
}

void WorkerSessions::EndRecovery() {
  recovering_ = false;
  std::vector<TaskRef> unclaimed;
  for (const auto& [id, job] : facts_.table().jobs()) {
    for (int index : job.graph.running()) {
      if (workers_.table().contains(job.tasks[index].record.worker())) continue;
      unclaimed.push_back({id, job.tasks[index].label()});
    }
  }
  for (const TaskRef& ref : unclaimed) attempts_.Lose(ref, "its worker did not come back after a restart");
}

void WorkerSessions::ExplainJobs() {
  const absl::Duration now = clock_.Monotonic();
  std::map<std::string, Wait> waits;
  // What ends a job may change others, so the facts are looked at before any of them changes.
  std::vector<std::pair<std::string, WaitingReason>> reasons;
  const std::string full_disk = jobs_.disk().Explain();
  for (const auto& [id, job] : facts_.table().jobs()) {
    if (job.record.state() != v1::Job::QUEUED && job.record.state() != v1::Job::RUNNING) continue;
    if (!full_disk.empty() && job.graph.running().empty()) {
      reasons.emplace_back(id, WaitingReason{v1::Waiting::NO_SPACE, full_disk});
      continue;
    }
    WaitingReason waiting = ExplainWaiting(job, facts_.table(), workers_.table(), options_.limits, now);
    const std::string step = jobs_.ExplainStep(id);
    if (waiting.cause == v1::Waiting::COORDINATOR && !step.empty()) waiting.reason = step;
    reasons.emplace_back(id, std::move(waiting));
  }
  for (const auto& [id, waiting] : reasons) {
    const auto known = waits_.find(id);
    const bool same = known != waits_.end() && IsSameWait(known->second.cause, waiting.cause);
    const Wait& wait = waits[id] = Wait{waiting.cause, same ? known->second.since : now};
    const absl::Duration waited = now - wait.since;
    const bool brief = waiting.cause == v1::Waiting::COORDINATOR && waited < kLongStep;
    Explain(*facts_.table().Find(id), brief ? WaitingReason() : waiting);
    EndHopeless(id, waiting, waited);
  }
  waits_ = std::move(waits);
}

void WorkerSessions::Explain(const Job& job, const WaitingReason& waiting) {
  // A record that was read may hold a reason of before.
  if (job.waiting.cause() == waiting.cause && job.waiting.reason() == waiting.reason &&
      job.record.reason() == waiting.reason) {
    return;
  }
  v1::Waiting told;
  told.set_cause(waiting.cause);
  told.set_reason(waiting.reason);
  if (job.waiting.cause() == waiting.cause && job.waiting.has_since()) {
    *told.mutable_since() = job.waiting.since();
  } else if (waiting.cause != v1::Waiting::CAUSE_UNSPECIFIED) {
    *told.mutable_since() = ToTimestamp(clock_.Now());
  }
  facts_.Apply(JobExplained{job.record.id(), told});
}

void WorkerSessions::EndHopeless(const std::string& id, const WaitingReason& waiting, absl::Duration waited) {
  if (waiting.cause == v1::Waiting::WORKERS_DIED && waited >= options_.limits.poison_patience &&
      attempts_.EndPoisoned(*facts_.table().Find(id))) {
    return;
  }
  if (!IsUnschedulable(waiting.cause) || waited < options_.unschedulable_timeout) return;
  jobs_.Fail(id, MakeError(absl::StatusCode::kFailedPrecondition, "NO_CAPABLE_WORKER",
                           absl::StrCat("no worker could take a task for ",
                                        absl::FormatDuration(options_.unschedulable_timeout), ": ",
                                        waiting.reason)));
}

void WorkerSessions::CloseAll(const absl::Status& status) {
  for (const auto& [worker, link] : workers_.all()) link->Close(status);
}

}  // namespace quantmoe
