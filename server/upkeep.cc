#include "server/upkeep.h"

#include <algorithm>
#include <filesystem>

#include "proto/job_state.h"
#include "server/report/job_view.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kGaugeInterval = absl::Seconds(1);
constexpr absl::Duration kLookInterval = absl::Seconds(1);
// On a full disk what is only kept for later jobs goes early. Young blobs stay: a running task, or a client
// that is about to create a job, may have just written them.
constexpr absl::Duration kFullDiskInterval = absl::Seconds(30);
constexpr absl::Duration kFullDiskMinAge = absl::Minutes(10);
constexpr absl::Duration kHungAfter = absl::Seconds(30);

int64_t RealMilliseconds() { return absl::ToInt64Milliseconds(Clock::Real().Monotonic()); }

// Enough for a panel of what was done lately; every job would make as many series as there were jobs.
constexpr size_t kShownQualities = 50;

void AddQualities(const JobTable& table, FactCounts& counts) {
  std::vector<const server::JobRecord*> newest;
  for (const auto& [id, job] : table.jobs()) {
    if (job.record.artifact().has_quality()) newest.push_back(&job.record);
  }
  const size_t shown = std::min(newest.size(), kShownQualities);
  std::partial_sort(newest.begin(), newest.begin() + static_cast<std::ptrdiff_t>(shown), newest.end(),
                    [](const auto* a, const auto* b) { return a->create_number() > b->create_number(); });
  for (size_t i = 0; i < shown; ++i) {
    const server::ArtifactRecord::Quality& quality = newest[i]->artifact().quality();
    counts.newest_qualities.push_back({newest[i]->id(), quality.original_perplexity(), quality.perplexity(),
                                       quality.uniform_perplexity(), quality.recommends()});
  }
}

// Every state is told, also when nothing is in it.
FactCounts ZeroCounts() {
  FactCounts counts;
  for (int state = v1::Job::STATE_UNSPECIFIED + 1; state < v1::Job::State_ARRAYSIZE; ++state) {
    counts.jobs[v1::Job::State_Name(state)] = 0;
  }
  for (int state = v1::Worker::STATE_UNSPECIFIED + 1; state < v1::Worker::State_ARRAYSIZE; ++state) {
    counts.workers[v1::Worker::State_Name(state)] = 0;
  }
  return counts;
}

void CountJob(const Job& job, absl::Duration now, FactCounts& counts) {
  ++counts.jobs[v1::Job::State_Name(job.record.state())];
  if (IsTerminal(job.record.state())) return;
  for (const Task& task : job.tasks) {
    const TaskState state = task.record.state();
    ++counts.tasks[{v1::Task::State_Name(state), task.kind()}];
    if (state != v1::Task::READY) continue;
    ++counts.ready_tasks;
    counts.oldest_ready_age = std::max(counts.oldest_ready_age, now - task.ready_at);
  }
}

}  // namespace

void Upkeep::Tick() {
  last_tick_ms_ = RealMilliseconds();
  const absl::Duration now = context_.clock.Monotonic();
  context_.sessions.Tick();
  context_.jobs.Reconcile();
  context_.watchers.Tick(context_.facts.table(), now);
  if (now - gauges_at_ >= kGaugeInterval) {
    gauges_at_ = now;
    CountFacts();
  }
  if (now - looked_at_ >= kLookInterval && LookAtDisk()) looked_at_ = now;
  const bool full = context_.disk.unusable();
  if (!garbage_.running() && now - garbage_at_ >= (full ? kFullDiskInterval : options_.garbage_interval)) {
    garbage_at_ = now;
    garbage_.Start(full ? std::min(options_.blob_min_age, kFullDiskMinAge) : options_.blob_min_age);
  }
}

bool Upkeep::Beats() const {
  const int64_t last = last_tick_ms_;
  return last != 0 && absl::Milliseconds(RealMilliseconds() - last) < kHungAfter;
}

void Upkeep::CountFacts() {
  FactCounts counts = ZeroCounts();
  const absl::Duration now = context_.clock.Monotonic();
  for (const auto& [id, job] : context_.facts.table().jobs()) CountJob(job, now, counts);
  AddQualities(context_.facts.table(), counts);
  for (const auto& [id, worker] : context_.links.table()) {
    ++counts.workers[v1::Worker::State_Name(
        ViewWorker(worker, context_.facts.table(), options_.limits, now).state())];
  }
  context_.metrics.Refresh(counts);
}

bool Upkeep::LookAtDisk() {
  if (looking_at_disk_.exchange(true)) return false;
  const bool posted = context_.rooms.disk.Post([this, sessions = &context_.sessions] {
    context_.disk.Refresh();
    context_.metrics.DiskFull(context_.disk.unusable());
    sessions->KeepProbe();
    context_.metrics.QuarantinedBlobs(context_.blobs().quarantined());
    std::error_code error;
    const auto space = std::filesystem::space(context_.data_dir, error);
    if (!error) context_.metrics.DiskFree(static_cast<int64_t>(space.available));
    looking_at_disk_ = false;
  });
  if (!posted) looking_at_disk_ = false;
  return posted;
}

}  // namespace quantmoe
