#include "server/report/job_view.h"

#include "absl/strings/str_cat.h"

#include "base/text.h"
#include "plan/job/job_spec.h"
#include "plan/options/spec_json.h"
#include "proto/job_spec_proto.h"
#include "proto/proto_time.h"
#include "server/facts/job_progress.h"
#include "server/facts/resource_names.h"

namespace quantmoe {
namespace {

// Rows of an earlier server may hold any length.
constexpr size_t kMaxReasonBytes = 1000;

}  // namespace

v1::Job ViewJob(const Job& job) {
  const server::JobRecord& record = job.record;
  v1::Job view;
  view.set_name(JobName(record.id()));
  view.set_display_name(record.display_name());
  *view.mutable_labels() = record.labels();
  *view.mutable_spec() = record.spec();
  view.set_state(record.state());
  view.set_state_reason(CutText(record.reason(), kMaxReasonBytes));
  *view.mutable_progress() = ProgressOf(job);
  if (record.has_error()) *view.mutable_error() = record.error();
  if (record.has_artifact()) view.set_artifact(ArtifactName(record.id()));
  *view.mutable_create_time() = TimestampFromMicros(record.create_us());
  if (record.start_us() != 0) *view.mutable_start_time() = TimestampFromMicros(record.start_us());
  if (record.finish_us() != 0) *view.mutable_finish_time() = TimestampFromMicros(record.finish_us());
  view.set_etag(absl::StrCat("\"", record.revision(), "\""));
  view.set_last_event_seq(record.last_seq());
  if (!record.parent().empty()) view.set_parent_job(JobName(record.parent()));
  if (job.waiting.cause() != v1::Waiting::CAUSE_UNSPECIFIED) *view.mutable_waiting() = job.waiting;
  return view;
}

v1::Job ViewWholeJob(const Job& job) {
  v1::Job view = ViewJob(job);
  *view.mutable_warnings() = job.record.warnings();
  // A spec that a newer or damaged store cannot tell is left out; everything else of the job is still shown.
  if (const absl::StatusOr<JobSpec> spec = JobSpecFromJson(job.record.spec_json()); spec.ok()) {
    *view.mutable_resolved_spec() = JobSpecToProto(*spec);
  }
  return view;
}

v1::Task ViewTask(const Job& job, const Task& task) {
  v1::Task view;
  view.set_name(TaskName(job.record.id(), task.label()));
  view.set_stage(std::string(TaskKindName(task.kind())));
  view.set_state(task.record.state());
  view.set_worker(task.record.worker());
  view.set_attempts(task.record.attempts());
  view.set_cached(task.cached());
  view.set_seconds(task.record.seconds());
  if (task.record.has_error()) *view.mutable_error() = task.record.error();
  return view;
}

v1::Artifact ViewArtifact(const Job& job, const std::string& artifacts_dir) {
  const server::ArtifactRecord& record = job.record.artifact();
  v1::Artifact view;
  view.set_name(ArtifactName(job.record.id()));
  view.set_job(JobName(job.record.id()));
  int64_t size_bytes = record.manifest().size_bytes();
  for (const auto& file : record.files()) {
    v1::ArtifactFile& added = *view.add_files();
    added.set_path(file.path());
    *added.mutable_digest() = file.digest();
    size_bytes += file.digest().size_bytes();
  }
  view.set_size_bytes(size_bytes);
  view.set_manifest_sha256(record.manifest().sha256());
  view.set_path(absl::StrCat(artifacts_dir, "/", job.record.id()));
  *view.mutable_create_time() = TimestampFromMicros(record.create_us());
  return view;
}

v1::Worker ViewWorker(const WorkerFacts& worker, const JobTable& jobs, const SchedulingLimits& limits,
                      absl::Duration now) {
  v1::Worker view;
  const std::vector<TaskRef> running = jobs.RunningOn(worker.id);
  view.set_id(worker.id);
  view.set_state(worker.draining                  ? v1::Worker::DRAINING
                 : IsSuspect(worker, limits, now) ? v1::Worker::SUSPECT
                 : running.empty()                ? v1::Worker::IDLE
                                                  : v1::Worker::BUSY);
  view.set_device(worker.device);
  view.set_threads(worker.threads);
  view.set_memory_bytes(worker.memory_bytes);
  view.set_determinism_class(worker.determinism_class);
  view.set_shared_blobs(worker.shared_blobs);
  if (!running.empty()) view.set_task(TaskName(running.front().job, running.front().task));
  view.set_tasks_done(worker.tasks_done);
  *view.mutable_connect_time() = ToTimestamp(worker.connect_time);
  return view;
}

}  // namespace quantmoe
