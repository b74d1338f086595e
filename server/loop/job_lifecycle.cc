#include "server/loop/job_lifecycle.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/log.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "plan/graph/task_graph.h"
#include "plan/options/spec_json.h"
#include "proto/grpc_status.h"
#include "proto/job_state.h"
#include "server/decide/scheduler.h"
#include "server/facts/random_id.h"
#include "server/facts/resource_names.h"
#include "server/loop/publisher.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxReasonBytes = 1000;

// Everything after `prepare`. In a room: the model is opened again after a restart.
absl::StatusOr<std::vector<TaskDefinition>> ExpandGraph(std::shared_ptr<const ResolvedJob> resolved,
                                                        const std::string& spec_json, const Digest& summary,
                                                        const ModelSources& models, LocalBlobStore& blobs) {
  if (resolved == nullptr) {
    ASSIGN_OR_RETURN(JobSpec spec, JobSpecFromJson(spec_json));
    ASSIGN_OR_RETURN(ResolvedJob opened, OpenJob(std::move(spec), models));
    resolved = std::make_shared<const ResolvedJob>(std::move(opened));
  }
  ASSIGN_OR_RETURN(const PrepareSummary parsed, ReadPrepareSummary(blobs, summary));
  return TasksAfterPrepare(*resolved, parsed);
}

constexpr int kMaxStepRetries = 8;

// Nothing is lost: whatever stands in the way, the results are kept.
absl::Status AsFailedPublication(const absl::Status& error) {
  if (!IsPlaceTaken(error)) return Annotate(error, "publication");
  const ErrorInfo info = GetErrorInfo(error);
  return MakeError(error.code(), info.reason,
                   absl::StrCat("publication: ", error.message(),
                                ". All results are kept: a retry of the job publishes them, under a name of "
                                "its own, and computes nothing again"),
                   info.metadata);
}

}  // namespace

v1::JobEvent TaskEvent(const Task& task, v1::TaskChanged::Outcome outcome) {
  v1::JobEvent event;
  v1::TaskChanged& changed = *event.mutable_task_changed();
  changed.set_task(task.label());
  changed.set_stage(std::string(TaskKindName(task.kind())));
  changed.set_outcome(outcome);
  changed.set_worker(task.record.worker());
  changed.set_attempt(task.record.attempts());
  changed.set_seconds(task.record.seconds());
  if (task.record.has_error()) *changed.mutable_error() = task.record.error();
  return event;
}

JobLifecycle::JobLifecycle(Options options, FactsRecorder& facts, CommitLoop& loop, WorkerLinks& workers,
                           StateStore& store, LocalBlobStore& blobs, DiskReserve& disk, Rooms& rooms,
                           Metrics& metrics, const Clock& clock)
    : options_(std::move(options)),
      facts_(facts),
      loop_(loop),
      workers_(workers),
      blobs_(blobs),
      disk_(disk),
      rooms_(rooms),
      metrics_(metrics),
      clock_(clock),
      lookup_(store, blobs, loop, rooms.lookups, [this](const std::vector<ResultLookup::Answer>& answers) {
        loop_thread.AssertHeld();
        TakeLookedUp(answers);
      }) {}

absl::StatusOr<std::string> JobLifecycle::FindReplay(const std::string& request_id,
                                                     const std::string& request_hash) {
  const Job* job = request_id.empty() ? nullptr : facts_.table().FindByRequestId(request_id);
  if (job == nullptr) return "";
  if (job->record.request_hash() != request_hash) {
    return MakeError(absl::StatusCode::kInvalidArgument, "REQUEST_ID_PAYLOAD_MISMATCH",
                     absl::StrCat("request_id ", request_id, " was used with another request"),
                     {{"request_id", request_id}});
  }
  metrics_.RequestReplayed();
  return job->record.id();
}

absl::Status JobLifecycle::CheckFree(const std::string& id) const {
  if (facts_.table().Find(id) == nullptr) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAlreadyExists, "JOB_ALREADY_EXISTS",
                   absl::StrCat("job ", id, " exists"), {{"name", JobName(id)}});
}

absl::StatusOr<std::string> JobLifecycle::Create(NewJob job) {
  ASSIGN_OR_RETURN(const std::string replay, FindReplay(job.request_id, job.request_hash));
  if (!replay.empty()) return replay;
  const std::string id = job.id.empty() ? absl::StrCat("job-", RandomHex(/*bytes=*/6)) : job.id;
  RETURN_IF_ERROR(CheckFree(id));
  if (facts_.table().active_jobs() >= options_.max_active_jobs) {
    return MakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                     absl::StrCat("unfinished jobs: ", facts_.table().active_jobs()));
  }
  RETURN_IF_ERROR(disk_.status());
  server::JobRecord record;
  record.set_id(id);
  record.set_create_number(facts_.table().next_number());
  record.set_display_name(job.display_name);
  record.mutable_labels()->insert(job.labels.begin(), job.labels.end());
  *record.mutable_spec() = job.spec;
  record.set_spec_json(JobSpecToJson(job.resolved->spec));
  record.set_state(v1::Job::QUEUED);
  record.set_request_id(job.request_id);
  record.set_request_hash(job.request_hash);
  record.set_parent(job.parent);
  record.set_create_us(absl::ToUnixMicros(clock_.Now()));
  record.set_model_json(job.model_json);
  record.set_original_bytes(job.resolved->original_bytes);
  record.mutable_warnings()->Add(job.warnings.begin(), job.warnings.end());
  metrics_.JobSubmitted(job.resolved->spec.heuristic);
  facts_.Apply(JobCreated{std::move(record), {PrepareTask(*job.resolved)}});
  resolved_[id] = std::move(job.resolved);
  v1::JobEvent event;
  event.mutable_state_changed()->set_state(v1::Job::QUEUED);
  facts_.AppendLog(id, std::move(event));
  ResolveReadyTasks(id, {0});
  return id;
}

void JobLifecycle::Bind(const std::string& id, const std::string& determinism_class) {
  facts_.Apply(JobBound{id, determinism_class});
  std::vector<int> ready;
  for (const auto& [height, index] : facts_.table().Find(id)->graph.ready()) ready.push_back(index);
  ResolveReadyTasks(id, ready);
}

void JobLifecycle::MarkRunning(const std::string& id) {
  if (facts_.table().Find(id)->record.state() == v1::Job::QUEUED) ChangeState(id, v1::Job::RUNNING, "");
}

void JobLifecycle::ResolveReadyTasks(const std::string& id, const std::vector<int>& candidates) {
  const Job& job = *facts_.table().Find(id);
  for (const int candidate : candidates) {
    const Task& task = job.tasks[candidate];
    const std::string& label = task.label();
    const TaskState state = task.record.state();
    const bool waits = state == v1::Task::BLOCKED || (state == v1::Task::READY && task.key().empty());
    if (!waits || task.node->unmet > 0) continue;
    const absl::StatusOr<std::string> key = job.graph.KeyOf(*task.node, job.record.determinism_class());
    if (!key.ok()) return Fail(id, key.status());
    facts_.Apply(TaskReady{id, label, *key, clock_.Monotonic(), /*awaits_lookup=*/!key->empty()});
    if (key->empty()) continue;
    // What this batch has found cannot be read from the store yet.
    if (const auto* outputs = facts_.FindUncommittedResult(*key); outputs != nullptr) {
      FinishFromCache(id, label, std::vector<v1::TaskBlob>(*outputs));
    } else {
      lookup_.Want({id, label, *key});
    }
  }
  StartSteps(job);
}

void JobLifecycle::TakeLookedUp(const std::vector<ResultLookup::Answer>& answers) {
  for (const ResultLookup::Answer& answer : answers) {
    const auto& [id, label, key] = answer.wanted;
    const Task* task = facts_.table().FindTask(id, label);
    // A result of an equal task may have come meanwhile, or the end of the job, or another job of its name.
    const bool waits = task != nullptr && task->awaits_lookup && task->record.state() == v1::Task::READY;
    if (!waits || task->key() != key) continue;
    if (answer.outputs.empty()) {
      if (answer.lost) facts_.ForgetResult(key);
      facts_.Apply(TaskLookedUp{id, label});
      continue;
    }
    facts_.TouchResult(key);
    FinishFromCache(id, label, answer.outputs);
  }
}

void JobLifecycle::Resume() {
  // Whoever was created in a batch that failed is not there, or was another job of its id.
  resolved_.clear();
  for (const auto& [id, job] : facts_.table().jobs()) {
    for (const auto& [height, index] : job.graph.ready()) {
      const Task& task = job.tasks[index];
      if (task.awaits_lookup) lookup_.Want({id, task.label(), task.key()});
    }
  }
  Reconcile();
}

void JobLifecycle::FinishFromCache(const std::string& id, const std::string& label,
                                   const std::vector<v1::TaskBlob>& outputs) {
  MarkRunning(id);
  facts_.Apply(TaskDone{id, label, outputs, /*cached=*/true, /*seconds=*/0, clock_.Now()});
  facts_.AppendLog(id, TaskEvent(*facts_.table().FindTask(id, label), v1::TaskChanged::CACHED));
  FollowUp(id, label);
}

void JobLifecycle::FollowUp(const std::string& id, const std::string& label) {
  const Job& job = *facts_.table().Find(id);
  if (job.record.state() != v1::Job::RUNNING) return;
  ResolveReadyTasks(id, job.graph.Find(label)->dependents);
}

void JobLifecycle::Reconcile() {
  for (const auto& [id, job] : facts_.table().jobs()) StartSteps(job);
}

void JobLifecycle::StartSteps(const Job& job) {
  const std::string& id = job.record.id();
  if (job.record.state() != v1::Job::RUNNING || !MayStep(id)) return;
  const auto is_done = [&job](const char* label) {
    const Task* task = job.Find(label);
    return task != nullptr && task->record.state() == v1::Task::DONE;
  };
  if (!job.record.expanded() && is_done(kPrepareLabel)) StartExpansion(id);
  if (is_done(kPublishLabel)) StartPublishing(id);
}

void JobLifecycle::StartExpansion(const std::string& id) {
  if (expanding_.contains(id)) return;
  const Job& job = *facts_.table().Find(id);
  const absl::StatusOr<Digest> summary = job.graph.OutputOf(kPrepareLabel, "summary");
  const Instance of{id, job.record.create_number()};
  if (!summary.ok()) return FinishExpansion(of, summary.status());
  auto resolved = resolved_.contains(id) ? resolved_[id] : nullptr;
  // A model that must be opened again may lie in a slow place, which must not hold up the steps of other
  // jobs.
  Executor& room = resolved == nullptr ? rooms_.For(job.record.spec()) : rooms_.steps;
  const bool posted = room.Post([this, of, resolved, spec = job.record.spec_json(), digest = *summary] {
    auto tasks = ExpandGraph(resolved, spec, digest, options_.models, blobs_);
    loop_.Post([this, of, tasks = std::move(tasks)] {
      loop_thread.AssertHeld();
      FinishExpansion(of, tasks);
    });
  });
  if (posted) expanding_.insert(id);
}

void JobLifecycle::FinishExpansion(const Instance& of, absl::StatusOr<std::vector<TaskDefinition>> tasks) {
  const std::string& id = of.id;
  const Job* job = FindRunning(of);
  if (job == nullptr || job->record.expanded()) {
    expanding_.erase(id);
    return;
  }
  // A step that a stop interrupts is for the next coordinator.
  if (GetErrorInfo(tasks.status()).reason == "SHUTTING_DOWN") return;
  if (!tasks.ok()) return RecoverStep(id, kPrepareLabel, expanding_, tasks.status());
  expanding_.erase(id);
  resolved_.erase(id);
  step_retries_.erase(id);
  facts_.Apply(GraphExpanded{id, *std::move(tasks)});
  std::vector<int> all;
  for (const Task& task : job->tasks) all.push_back(task.index());
  ResolveReadyTasks(id, all);
}

void JobLifecycle::StartPublishing(const std::string& id) {
  if (publishing_.contains(id)) return;
  const Job& job = *facts_.table().Find(id);
  const Instance of{id, job.record.create_number()};
  const std::vector<BlobRef> outputs = job.Find(kPublishLabel)->outputs();
  const bool posted = rooms_.steps.Post([this, of, outputs] {
    auto artifact = PublishArtifact(blobs_, outputs, options_.artifacts_dir, of.id);
    loop_.Post([this, of, artifact = std::move(artifact)] {
      loop_thread.AssertHeld();
      FinishPublishing(of, artifact);
    });
  });
  if (posted) publishing_.insert(id);
}

void JobLifecycle::FinishPublishing(const Instance& of, absl::StatusOr<server::ArtifactRecord> artifact) {
  const std::string& id = of.id;
  // Cancelled or deleted meanwhile: nobody refers to the directory.
  if (FindRunning(of) == nullptr) return StartUnpublishing(id);
  // A step that a stop interrupts is for the next coordinator.
  if (GetErrorInfo(artifact.status()).reason == "SHUTTING_DOWN") return;
  if (!artifact.ok()) {
    return RecoverStep(id, kPublishLabel, publishing_, AsFailedPublication(artifact.status()));
  }
  publishing_.erase(id);
  step_retries_.erase(id);
  artifact->set_create_us(absl::ToUnixMicros(clock_.Now()));
  ChangeState(id, v1::Job::SUCCEEDED, "", {}, *artifact);
}

void JobLifecycle::StartUnpublishing(const std::string& id) {
  const bool posted = rooms_.steps.Post([this, id] {
    Unpublish(absl::StrCat(options_.artifacts_dir, "/", id));
    loop_.Post([this, id] {
      loop_thread.AssertHeld();
      publishing_.erase(id);
      if (const Job* job = facts_.table().Find(id)) StartSteps(*job);
    });
  });
  if (posted) {
    publishing_.insert(id);
    return;
  }
  publishing_.erase(id);
  Log(LogLevel::kWarning, "the artifact of a deleted job stays: too many steps wait", {{"job", id}});
}

const Job* JobLifecycle::FindRunning(const Instance& of) const {
  const Job* job = facts_.table().Find(of.id);
  const bool same = job != nullptr && job->record.create_number() == of.create_number;
  return same && job->record.state() == v1::Job::RUNNING ? job : nullptr;
}

bool JobLifecycle::MayStep(const std::string& id) const {
  const auto retry = step_retries_.find(id);
  return retry == step_retries_.end() || retry->second.not_before <= clock_.Monotonic();
}

void JobLifecycle::RecoverStep(const std::string& id, const std::string& label,
                               std::set<std::string>& in_step, const absl::Status& error) {
  if (IsLostBlob(error)) {
    const Job& job = *facts_.table().Find(id);
    const Instance of{id, job.record.create_number()};
    CheckBlobs(id, job.Find(label)->outputs(), [this, of, &in_step, error](const BlobCheck& check) {
      loop_thread.AssertHeld();
      in_step.erase(of.id);
      if (FindRunning(of) == nullptr) {
        if (&in_step == &publishing_) StartUnpublishing(of.id);
        return;
      }
      if (!check.lost.empty()) return Reopen(of.id, check.lost);
      if (!check.restored && !check.unknown) Fail(of.id, error);
    });
    return;
  }
  in_step.erase(id);
  StepRetry& retry = step_retries_[id];
  const bool unusable = IsDiskUnusable(error);
  if (unusable) disk_.NoteFailure(error);
  if (!unusable && (!IsRetryable(error) || retry.failures >= kMaxStepRetries)) return Fail(id, error);
  retry.not_before = clock_.Monotonic() + RetryDelay(++retry.failures);
  Log(LogLevel::kWarning, "a step of the coordinator is tried again later",
      {{"job", id}, {"after", label}, {"error", error.ToString()}});
  retry.error = std::string(error.message());
}

std::string JobLifecycle::ExplainStep(const std::string& id) const {
  const auto retry = step_retries_.find(id);
  return retry == step_retries_.end() ? "" : absl::StrCat("is tried again after: ", retry->second.error);
}

void JobLifecycle::Cancel(const std::string& id, absl::string_view reason) {
  const Job& job = *facts_.table().Find(id);
  if (IsTerminal(job.record.state()) || job.record.state() == v1::Job::CANCELLING) return;
  ChangeState(id, v1::Job::CANCELLING, reason);
  CancelRunningTasks(job, reason);
  SettleCancellation(id);
}

void JobLifecycle::SettleCancellation(const std::string& id) {
  const Job* job = facts_.table().Find(id);
  if (job == nullptr || job->record.state() != v1::Job::CANCELLING || !job->graph.running().empty()) return;
  ChangeState(id, v1::Job::CANCELLED, job->record.reason());
}

absl::Status JobLifecycle::Delete(const std::string& id, bool force) {
  const Job& job = *facts_.table().Find(id);
  if (!IsTerminal(job.record.state()) && !force) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "JOB_NOT_TERMINAL",
                     absl::StrCat("job ", id, " has not ended"), {{"name", JobName(id)}});
  }
  CancelRunningTasks(job, "the job was deleted");
  facts_.Apply(JobDeleted{id});
  resolved_.erase(id);
  step_retries_.erase(id);
  // A publication that goes on removes what it has made when it finds no job.
  const bool idle = publishing_.insert(id).second;
  loop_.AfterCommit([this, id, idle](const absl::Status& committed) {
    loop_thread.AssertHeld();
    if (!idle) return;
    if (committed.ok()) return StartUnpublishing(id);
    publishing_.erase(id);
  });
  return absl::OkStatus();
}

void JobLifecycle::Fail(const std::string& id, const absl::Status& error) {
  const Job& job = *facts_.table().Find(id);
  if (IsTerminal(job.record.state())) return;
  CancelRunningTasks(job, "the job failed");
  ChangeState(id, v1::Job::FAILED, error.message(), ToRpcStatus(error));
}

void JobLifecycle::CancelRunningTasks(const Job& job, absl::string_view reason) {
  for (int index : job.graph.running()) {
    const Task& task = job.tasks[index];
    workers_.SendCancel(task.record.worker(), TaskName(job.record.id(), task.label()), task.record.token(),
                        reason);
  }
}

void JobLifecycle::ChangeState(const std::string& id, JobState state, absl::string_view why,
                               const google::rpc::Status& error, const server::ArtifactRecord& artifact) {
  const Job& job = *facts_.table().Find(id);
  const std::string reason = CutText(why, kMaxReasonBytes);
  facts_.Apply(JobStateChanged{id, state, reason, error, clock_.Now(), artifact});
  v1::JobEvent event;
  event.mutable_state_changed()->set_state(state);
  event.mutable_state_changed()->set_reason(reason);
  if (error.code() != 0) *event.mutable_state_changed()->mutable_error() = error;
  facts_.AppendLog(id, std::move(event));
  Log(state == v1::Job::FAILED ? LogLevel::kError : LogLevel::kInfo, "job state changed",
      {{"job", id}, {"state", v1::Job::State_Name(state)}, {"reason", reason}});
  if (!IsTerminal(state)) return;
  resolved_.erase(id);
  step_retries_.erase(id);
  metrics_.JobFinished(v1::Job::State_Name(state),
                       absl::Microseconds(job.record.finish_us() - job.record.create_us()));
}

}  // namespace quantmoe
