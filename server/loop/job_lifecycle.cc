#include "server/loop/job_lifecycle.h"

#include <algorithm>
#include <deque>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/log.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "plan/graph/task_graph.h"
#include "plan/options/spec_json.h"
#include "proto/grpc_status.h"
#include "server/decide/scheduler.h"
#include "server/facts/random_id.h"
#include "server/facts/resource_names.h"
#include "server/loop/publisher.h"
#include "server/loop/task_inputs.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"
#include "storage/mapped_reads.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxReasonBytes = 1000;

// Everything after `prepare`. Runs on the executor: the model is opened again after a restart.
absl::StatusOr<std::vector<server::TaskDefinition>> PlanTasks(std::shared_ptr<const ResolvedJob> resolved,
                                                              const std::string& spec_json,
                                                              const Digest& summary,
                                                              const ModelSources& models,
                                                              LocalBlobStore& blobs) {
  if (resolved == nullptr) {
    ASSIGN_OR_RETURN(JobSpec spec, JobSpecFromJson(spec_json));
    ASSIGN_OR_RETURN(ResolvedJob opened, OpenJob(std::move(spec), models));
    resolved = std::make_shared<const ResolvedJob>(std::move(opened));
  }
  ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(summary));
  const absl::StatusOr<PrepareSummary> parsed = PrepareSummaryFromJson(file.bytes());
  RETURN_IF_ERROR(CheckMappedRead(file.bytes()));
  RETURN_IF_ERROR(parsed.status());
  std::vector<server::TaskDefinition> tasks;
  for (const PlannedTask& task : PlanRest(*resolved, *parsed)) tasks.push_back(DefineTask(task));
  return tasks;
}

// A result that is lost more often points to a disk that destroys what is written to it.
constexpr int kMaxReopened = 5;
constexpr int kMaxStepRetries = 8;

absl::Status TextLost(const std::set<std::string>& lost) {
  return MakeError(
      absl::StatusCode::kDataLoss, "BLOB_LOST",
      absl::StrCat("the text with SHA-256 ", *lost.begin(),
                   ", which the job was submitted with, is lost or damaged and cannot be fetched "
                   "again: submit the job again with the file"),
      {{"sha256", *lost.begin()}});
}

absl::Status LostTooOften(const Task& task) {
  return MakeError(absl::StatusCode::kDataLoss, "BLOB_LOST",
                   absl::StrCat("the result of task ", task.definition.label(), " was lost or damaged ",
                                task.record.reopened() + 1, " times: check the disk of the data directory"),
                   {{"task", task.definition.label()}});
}

bool Produces(const Task& task, const std::set<std::string>& lost) {
  return std::any_of(task.record.outputs().begin(), task.record.outputs().end(),
                     [&](const v1::TaskBlob& output) { return lost.contains(output.digest().sha256()); });
}

// The DONE task that has an output with this SHA-256, or null.
const Task* FindProducer(const Job& job, const std::string& sha256) {
  for (const Task& task : job.tasks) {
    if (task.record.state() == v1::Task::DONE && Produces(task, {sha256})) return &task;
  }
  return nullptr;
}

// Whether somebody will still read the outputs of a task that is DONE.
bool IsNeeded(const Job& job, const Task& task) {
  const std::string& label = task.definition.label();
  if (label == kPublishLabel || (label == kPrepareLabel && !job.record.planned())) return true;
  return std::any_of(task.dependents.begin(), task.dependents.end(),
                     [&](int dependent) { return job.tasks[dependent].record.state() != v1::Task::DONE; });
}

absl::Status JobAlreadyExists(absl::string_view id) {
  return MakeError(absl::StatusCode::kAlreadyExists, "JOB_ALREADY_EXISTS",
                   absl::StrCat("job ", id, " exists"), {{"name", JobName(id)}});
}

}  // namespace

v1::JobEvent TaskEvent(const Task& task, v1::TaskChanged::Outcome outcome) {
  v1::JobEvent event;
  v1::TaskChanged& changed = *event.mutable_task_changed();
  changed.set_task(task.definition.label());
  changed.set_stage(task.definition.kind());
  changed.set_outcome(outcome);
  changed.set_worker(task.record.worker());
  changed.set_attempt(task.record.attempts());
  changed.set_seconds(task.record.seconds());
  if (task.record.has_error()) *changed.mutable_error() = task.record.error();
  return event;
}

JobLifecycle::JobLifecycle(Options options, FactsRecorder& facts, CommitLoop& loop, WorkerLinks& workers,
                           LocalBlobStore& blobs, DiskReserve& disk, Executor& executor, Metrics& metrics,
                           const Clock& clock)
    : options_(std::move(options)),
      facts_(facts),
      loop_(loop),
      workers_(workers),
      blobs_(blobs),
      disk_(disk),
      executor_(executor),
      metrics_(metrics),
      clock_(clock) {}

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

absl::StatusOr<std::string> JobLifecycle::Create(NewJob job) {
  ASSIGN_OR_RETURN(const std::string replay, FindReplay(job.request_id, job.request_hash));
  if (!replay.empty()) return replay;
  const std::string id = job.id.empty() ? absl::StrCat("job-", RandomHex(/*bytes=*/6)) : job.id;
  if (facts_.table().Find(id) != nullptr) return JobAlreadyExists(id);
  if (facts_.table().active_jobs() >= options_.max_active_jobs) {
    return MakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                     absl::StrCat("unfinished jobs: ", facts_.table().active_jobs()));
  }
  RETURN_IF_ERROR(disk_.CheckRoom());
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
  facts_.Apply(JobCreated{std::move(record), {DefineTask(PlanPrepare(*job.resolved))}});
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
  for (const auto& [height, index] : facts_.table().Find(id)->ready) ready.push_back(index);
  ResolveReadyTasks(id, std::move(ready));
}

void JobLifecycle::MarkRunning(const std::string& id) {
  if (facts_.table().Find(id)->record.state() == v1::Job::QUEUED) ChangeState(id, v1::Job::RUNNING, "");
}

void JobLifecycle::ResolveReadyTasks(const std::string& id, std::vector<int> candidates) {
  const Job& job = *facts_.table().Find(id);
  std::deque<int> queue(candidates.begin(), candidates.end());
  while (!queue.empty()) {
    const Task& task = job.tasks[queue.front()];
    queue.pop_front();
    const TaskState state = task.record.state();
    const bool waits = state == v1::Task::BLOCKED || (state == v1::Task::READY && task.record.key().empty());
    if (!waits || task.unmet > 0) continue;
    absl::StatusOr<std::vector<v1::TaskBlob>> inputs = ResolveInputs(job, task);
    if (!inputs.ok()) return Fail(id, inputs.status());
    const std::string key = job.record.determinism_class().empty() ? "" : KeyOf(job, task, *inputs);
    facts_.Apply(TaskReady{id, task.definition.label(), key, clock_.Monotonic()});
    if (key.empty()) continue;
    const std::vector<v1::TaskBlob> outputs = FindCachedOutputs(key);
    if (outputs.empty()) continue;
    MarkRunning(id);
    facts_.Apply(
        TaskDone{id, task.definition.label(), outputs, /*cached=*/true, /*seconds=*/0, clock_.Now()});
    facts_.AppendLog(id, TaskEvent(task, v1::TaskChanged::CACHED));
    queue.insert(queue.end(), task.dependents.begin(), task.dependents.end());
  }
  Reconcile();
}

std::vector<v1::TaskBlob> JobLifecycle::FindCachedOutputs(const std::string& key) {
  const auto found = facts_.FindResult(key);
  if (!found.ok())
    Log(LogLevel::kWarning, "task cache cannot be read", {{"error", found.status().ToString()}});
  if (!found.ok() || !found->has_value()) return {};
  for (const v1::TaskBlob& output : **found) {
    const auto contains = blobs_.Contains(FromProto(output.digest()));
    if (contains.ok() && *contains) continue;
    facts_.ForgetResult(key);
    return {};
  }
  facts_.TouchResult(key);
  return **found;
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
  ResolveReadyTasks(id, job.Find(label)->dependents);
}

void JobLifecycle::Reconcile() {
  for (const auto& [id, job] : facts_.table().jobs()) {
    if (job.record.state() != v1::Job::RUNNING) continue;
    const Task* prepare = job.Find(kPrepareLabel);
    const Task* publish = job.Find(kPublishLabel);
    const auto is_done = [](const Task* task) {
      return task != nullptr && task->record.state() == v1::Task::DONE;
    };
    if (!MayStep(id)) continue;
    if (!job.record.planned() && is_done(prepare)) StartPlanning(id);
    if (is_done(publish)) StartPublishing(id);
  }
}

void JobLifecycle::StartPlanning(const std::string& id) {
  if (planning_.contains(id)) return;
  const Job& job = *facts_.table().Find(id);
  const v1::Digest* summary = FindOutput(*job.Find(kPrepareLabel), "summary");
  if (summary == nullptr) {
    return FinishPlanning(
        id, MakeError(absl::StatusCode::kInternal, "MISSING_OUTPUT", "prepare gave no summary"));
  }
  auto resolved = resolved_.contains(id) ? resolved_[id] : nullptr;
  Executor& room = resolved == nullptr && options_.room_of ? options_.room_of(job.record.spec()) : executor_;
  const bool posted =
      room.Post([this, id, resolved, spec = job.record.spec_json(), digest = FromProto(*summary)] {
        auto tasks = PlanTasks(resolved, spec, digest, options_.models, blobs_);
        loop_.Post([this, id, tasks = std::move(tasks)] { FinishPlanning(id, tasks); });
      });
  if (posted) planning_.insert(id);
}

void JobLifecycle::FinishPlanning(const std::string& id,
                                  absl::StatusOr<std::vector<server::TaskDefinition>> tasks) {
  const Job* job = facts_.table().Find(id);
  if (job == nullptr || job->record.state() != v1::Job::RUNNING || job->record.planned()) {
    planning_.erase(id);
    resolved_.erase(id);
    return;
  }
  // A step that a stop interrupts is for the next coordinator.
  if (GetErrorInfo(tasks.status()).reason == "SHUTTING_DOWN") return;
  if (!tasks.ok()) return RecoverStep(id, kPrepareLabel, planning_, tasks.status());
  planning_.erase(id);
  resolved_.erase(id);
  step_retries_.erase(id);
  facts_.Apply(TasksPlanned{id, *std::move(tasks)});
  std::vector<int> all;
  for (const Task& task : job->tasks) all.push_back(task.index);
  ResolveReadyTasks(id, std::move(all));
}

void JobLifecycle::StartPublishing(const std::string& id) {
  if (publishing_.contains(id)) return;
  const Task& publish = *facts_.table().Find(id)->Find(kPublishLabel);
  const std::vector<v1::TaskBlob> outputs(publish.record.outputs().begin(), publish.record.outputs().end());
  const bool posted = executor_.Post([this, id, outputs] {
    auto artifact = PublishArtifact(blobs_, outputs, options_.artifacts_dir, id);
    loop_.Post([this, id, artifact = std::move(artifact)] { FinishPublishing(id, artifact); });
  });
  if (posted) publishing_.insert(id);
}

void JobLifecycle::FinishPublishing(const std::string& id, absl::StatusOr<server::ArtifactRecord> artifact) {
  const Job* job = facts_.table().Find(id);
  if (job == nullptr || job->record.state() != v1::Job::RUNNING) {
    publishing_.erase(id);
    // Cancelled or deleted meanwhile: nobody refers to the directory.
    (void)executor_.Post([dir = absl::StrCat(options_.artifacts_dir, "/", id)] { Unpublish(dir); });
    return;
  }
  // A step that a stop interrupts is for the next coordinator.
  if (GetErrorInfo(artifact.status()).reason == "SHUTTING_DOWN") return;
  if (!artifact.ok()) {
    return RecoverStep(id, kPublishLabel, publishing_, Annotate(artifact.status(), "publication"));
  }
  publishing_.erase(id);
  step_retries_.erase(id);
  artifact->set_create_us(absl::ToUnixMicros(clock_.Now()));
  ChangeState(id, v1::Job::SUCCEEDED, "", {}, *artifact);
}

bool JobLifecycle::MayStep(const std::string& id) const {
  const auto retry = step_retries_.find(id);
  return retry == step_retries_.end() || retry->second.not_before <= clock_.Monotonic();
}

void JobLifecycle::RecoverStep(const std::string& id, const std::string& label,
                               std::set<std::string>& in_step, const absl::Status& error) {
  if (IsLostBlob(error)) {
    const Task& task = *facts_.table().Find(id)->Find(label);
    CheckBlobs(id, {task.record.outputs().begin(), task.record.outputs().end()},
               [this, id, &in_step, error](const BlobCheck& check) {
                 in_step.erase(id);
                 if (facts_.table().Find(id) == nullptr) return;
                 check.lost.empty() ? Fail(id, error) : Reopen(id, check.lost);
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

void JobLifecycle::CheckInputs(const std::string& id, const std::string& label, const std::string& named,
                               std::function<void(const BlobCheck&)> then) {
  const Job& job = *facts_.table().Find(id);
  absl::StatusOr<std::vector<v1::TaskBlob>> inputs = ResolveInputs(job, *job.Find(label));
  // An input that was reopened already has no digest: the task waits for it anyway.
  if (!inputs.ok()) return then({.lost = {}, .indirect = {}, .restored = true});
  const bool direct = std::any_of(inputs->begin(), inputs->end(), [&named](const v1::TaskBlob& input) {
    return input.digest().sha256() == named;
  });
  const Task* producer = direct || named.empty() ? nullptr : FindProducer(job, named);
  if (producer == nullptr) return CheckBlobs(id, *std::move(inputs), std::move(then));
  // A disk that lost one tensor of a plan may have lost more: all are looked at, not one each attempt.
  std::set<std::string> indirect;
  for (const Task& task : job.tasks) {
    if (task.record.state() != v1::Task::DONE || task.definition.kind() != producer->definition.kind())
      continue;
    for (const v1::TaskBlob& output : task.record.outputs()) {
      indirect.insert(output.digest().sha256());
      inputs->push_back(output);
    }
  }
  CheckBlobs(id, *std::move(inputs),
             [indirect = std::move(indirect), then = std::move(then)](BlobCheck check) {
               std::set_intersection(check.lost.begin(), check.lost.end(), indirect.begin(), indirect.end(),
                                     std::inserter(check.indirect, check.indirect.end()));
               then(check);
             });
}

void JobLifecycle::CheckBlobs(const std::string& id, std::vector<v1::TaskBlob> blobs,
                              std::function<void(const BlobCheck&)> then) {
  const bool posted =
      executor_.Post([this, spec = facts_.table().Find(id)->record.spec(), then, blobs = std::move(blobs)] {
        BlobCheck check;
        for (const v1::TaskBlob& blob : blobs) {
          const Digest digest = FromProto(blob.digest());
          if (!IsLostBlob(blobs_.Verify(digest))) continue;
          const bool restored = options_.restore_text && options_.restore_text(digest, spec);
          if (restored) {
            check.restored = true;
          } else {
            check.lost.insert(digest.sha256);
          }
        }
        loop_.Post([then, check] { then(check); });
      });
  if (!posted) then({});
}

void JobLifecycle::Reopen(const std::string& id, const std::set<std::string>& lost,
                          const std::set<std::string>& indirect) {
  const Job& job = *facts_.table().Find(id);
  if (job.record.state() != v1::Job::RUNNING) return;
  std::set<std::string> unmade = lost;
  std::vector<int> reopened;
  for (const Task& task : job.tasks) {
    if (task.record.state() != v1::Task::DONE || !Produces(task, lost)) continue;
    for (const v1::TaskBlob& output : task.record.outputs()) unmade.erase(output.digest().sha256());
    if (IsNeeded(job, task) || Produces(task, indirect)) reopened.push_back(task.index);
  }
  if (!unmade.empty()) return Fail(id, TextLost(unmade));
  for (int index : reopened) {
    const Task& task = job.tasks[index];
    if (task.record.reopened() >= kMaxReopened) return Fail(id, LostTooOften(task));
    Log(LogLevel::kWarning, "a lost result is computed again",
        {{"job", id}, {"task", task.definition.label()}});
    metrics_.ResultReopened(task.definition.kind());
    if (!task.record.key().empty()) facts_.ForgetResult(task.record.key());
    facts_.Apply(TaskReopened{id, task.definition.label()});
    facts_.AppendLog(id, TaskEvent(task, v1::TaskChanged::REOPENED));
  }
  ResolveReadyTasks(id, reopened);
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
  if (job == nullptr || job->record.state() != v1::Job::CANCELLING || !job->running.empty()) return;
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
  loop_.AfterCommit(
      [this, dir = absl::StrCat(options_.artifacts_dir, "/", id)](const absl::Status& committed) {
        if (!committed.ok()) return;
        (void)executor_.Post([dir] { Unpublish(dir); });
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
  for (int index : job.running) {
    const Task& task = job.tasks[index];
    workers_.SendCancel(task.record.worker(), TaskName(job.record.id(), task.definition.label()),
                        task.record.token(), reason);
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
