#include "server/loop/metrics.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

#include "absl/time/clock.h"
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/task_time_buckets.h"
#include "plan/allocate/bit_plan.h"
#include "plan/heuristics/heuristic.h"
#include "quantmoe/v1/jobs.pb.h"

namespace quantmoe {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

const Buckets& RpcBuckets() {
  static const Buckets& buckets = *new Buckets{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30};
  return buckets;
}
const Buckets& StoreBuckets() {
  static const Buckets& buckets = *new Buckets{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2};
  return buckets;
}
const Buckets& BatchBuckets() {
  static const Buckets& buckets = *new Buckets{1, 2, 4, 8, 16, 32, 64, 256, 1024, 16384};
  return buckets;
}
const Buckets& JobBuckets() {
  static const Buckets& buckets = *new Buckets{10, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 172800};
  return buckets;
}

// Values of labels that are written elsewhere as they are here. Series that exist from the start let
// `increase` see the first event.
constexpr std::array<const char*, 5> kAttemptOutcomes = {"committed", "failed", "lost", "refused",
                                                         "returned"};
constexpr std::array<const char*, 2> kLossCauses = {"disconnected", "silent"};
constexpr std::array<const char*, 3> kFenceReasons = {"state", "task_gone", "token"};
constexpr std::array<v1::Job::State, 3> kOutcomes = {v1::Job::SUCCEEDED, v1::Job::FAILED, v1::Job::CANCELLED};

std::string Text(absl::string_view text) { return std::string(text); }

int64_t OpenFiles() {
  int64_t count = 0;
  if (DIR* dir = opendir("/proc/self/fd"); dir != nullptr) {
    while (readdir(dir) != nullptr) ++count;
    closedir(dir);
  }
  return count;
}

// Resident pages and CPU ticks, as the kernel counts them.
int64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  int64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

struct Metrics::Families {
  mutable prometheus::Registry registry;

  Family<Counter>& Counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& Gauges(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& Histograms(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  Family<Gauge>& jobs = Gauges("quantmoe_jobs", "Jobs by state.");
  Family<Counter>& submitted = Counters("quantmoe_jobs_submitted_total", "Jobs created.");
  Family<Counter>& finished = Counters("quantmoe_jobs_finished_total", "Jobs ended.");
  Family<Histogram>& job_duration = Histograms("quantmoe_job_duration_seconds", "From creation to the end.");
  Family<Gauge>& tasks = Gauges("quantmoe_tasks", "Tasks of unfinished jobs by state and kind.");
  Family<Counter>& attempts = Counters("quantmoe_task_attempts_total", "Attempts by outcome.");
  Family<Histogram>& waits = Histograms("quantmoe_task_queue_wait_seconds", "From ready to assigned.");
  Family<Histogram>& runs = Histograms("quantmoe_task_run_seconds", "From assigned to committed.");
  Gauge& ready = Gauges("quantmoe_ready_tasks", "Tasks that wait for a worker.").Add({});
  Gauge& oldest_ready =
      Gauges("quantmoe_oldest_ready_task_age_seconds", "How long the oldest ready task has waited.").Add({});
  Family<Gauge>& workers = Gauges("quantmoe_workers", "Workers by state.");
  Family<Counter>& losses = Counters("quantmoe_worker_losses_total", "Workers that went away.");
  Counter& lease_expirations =
      Counters("quantmoe_lease_expirations_total", "Leases that ran out with a task.").Add({});
  Family<Counter>& fenced = Counters("quantmoe_fenced_commits_total", "Commits that were refused as stale.");
  Counter& mismatches =
      Counters("quantmoe_result_mismatch_total", "Repeated commits with other bytes.").Add({});
  Counter& adopted =
      Counters("quantmoe_adopted_tasks_total", "Running tasks taken over after a reconnect.").Add({});
  Counter& replays =
      Counters("quantmoe_idempotent_replays_total", "Requests answered from an earlier one.").Add({});
  Histogram& store_tx = Histograms("quantmoe_store_tx_seconds", "Time of one transaction.")
                            .Add({{"engine", "sqlite"}}, StoreBuckets());
  Histogram& store_batch =
      Histograms("quantmoe_store_batch_size", "Rows of one transaction.").Add({}, BatchBuckets());
  Counter& store_errors = Counters("quantmoe_store_errors_total", "Transactions that failed.").Add({});
  Gauge& watchers = Gauges("quantmoe_watchers", "Open watch streams.").Add({});
  Gauge& is_leader = Gauges("quantmoe_is_leader", "1 on the coordinator that decides.").Add({});
  Gauge& term = Gauges("quantmoe_leader_term", "Term of this coordinator.").Add({});
  Gauge& recovery = Gauges("quantmoe_recovery_seconds", "Time to load the store at the last start.").Add({});
  Gauge& cas = Gauges("quantmoe_cas_bytes", "Bytes of stored blobs at the last sweep.").Add({});
  Counter& evicted = Counters("quantmoe_cas_evicted_bytes_total", "Bytes of blobs deleted.").Add({});
  Gauge& disk_free = Gauges("quantmoe_disk_free_bytes", "Free space of the data directory.").Add({});
  Gauge& disk_full =
      Gauges("quantmoe_disk_full",
             "1 while the data directory has no room, or cannot be written to, and no task starts.")
          .Add({});
  Gauge& quarantined = Gauges("quantmoe_quarantined_blobs", "Damaged blobs that were set aside.").Add({});
  Family<Counter>& reopened =
      Counters("quantmoe_results_reopened_total", "Results that were lost and are computed again.");
  Gauge& set_aside =
      Gauges("quantmoe_records_set_aside", "Jobs whose stored records could not be read at the start.")
          .Add({});
  Family<Counter>& blob_bytes = Counters("quantmoe_blob_bytes_total", "Blob bytes streamed.");
  Family<Gauge>& build_info = Gauges("quantmoe_build_info", "1; the labels tell the build.");
  Family<Counter>& rpc_started = Counters("grpc_server_started_total", "RPCs started.");
  Family<Counter>& rpc_handled = Counters("grpc_server_handled_total", "RPCs ended, by code.");
  Family<Histogram>& rpc_seconds = Histograms("grpc_server_handling_seconds", "Time to answer.");
  Family<Gauge>& job_perplexity = Gauges(
      "quantmoe_job_perplexity", "Perplexity of a finished job's weights: original, planned, uniform.");
  Family<Gauge>& job_verdict =
      Gauges("quantmoe_job_verdict", "1 for what the measurement of a finished job recommends.");
  Gauge& resident = Gauges("process_resident_memory_bytes", "Resident memory.").Add({});
  Gauge& open_fds = Gauges("process_open_fds", "Open file descriptors.").Add({});
  Gauge& start_time = Gauges("process_start_time_seconds", "Start of the process, Unix time.").Add({});
  Counter& cpu = Counters("process_cpu_seconds_total", "CPU time of the process.").Add({});

  // Gauges that were set once must go to zero when their label is no longer counted.
  std::set<std::map<std::string, std::string>> known_jobs, known_tasks, known_workers;

  void ShowQualities(const std::vector<JobQuality>& qualities);

 private:
  // Of the jobs that are shown. A job's series ends with it.
  std::map<std::string, std::vector<std::pair<Family<Gauge>*, Gauge*>>> shown_;
};

void Metrics::Families::ShowQualities(const std::vector<JobQuality>& qualities) {
  std::set<std::string> wanted;
  for (const JobQuality& quality : qualities) {
    wanted.insert(quality.job);
    auto& series = shown_[quality.job];
    if (!series.empty()) continue;
    for (const auto& [weights, value] :
         {std::pair("original", quality.original_perplexity), std::pair("planned", quality.perplexity),
          std::pair("uniform", quality.uniform_perplexity)}) {
      if (value == 0) continue;
      Gauge& gauge = job_perplexity.Add({{"job_id", quality.job}, {"weights", weights}});
      gauge.Set(value);
      series.emplace_back(&job_perplexity, &gauge);
    }
    if (quality.recommends.empty()) continue;
    Gauge& gauge = job_verdict.Add({{"job_id", quality.job}, {"recommends", quality.recommends}});
    gauge.Set(1);
    series.emplace_back(&job_verdict, &gauge);
  }
  std::erase_if(shown_, [&wanted](const auto& entry) {
    if (wanted.contains(entry.first)) return false;
    for (const auto& [family, gauge] : entry.second) family->Remove(gauge);
    return true;
  });
}

namespace {

template <typename Key, typename ToLabels>
void SetAll(Family<Gauge>& family, std::set<std::map<std::string, std::string>>& known,
            const std::map<Key, int>& counts, const ToLabels& to_labels) {
  for (const auto& labels : known) family.Add(labels).Set(0);
  for (const auto& [key, count] : counts) {
    const std::map<std::string, std::string> labels = to_labels(key);
    known.insert(labels);
    family.Add(labels).Set(count);
  }
}

}  // namespace

Metrics::Metrics(absl::string_view version, int64_t term) : families_(std::make_unique<Families>()) {
  for (const char* cause : kLossCauses) families_->losses.Add({{"cause", cause}});
  for (const char* reason : kFenceReasons) families_->fenced.Add({{"reason", reason}});
  for (const char* direction : {"upload", "download"}) families_->blob_bytes.Add({{"direction", direction}});
  for (const v1::Job::State state : kOutcomes)
    families_->finished.Add({{"outcome", v1::Job::State_Name(state)}});
  for (const Heuristic& heuristic : Heuristics()) {
    families_->submitted.Add({{"heuristic", heuristic.name}});
  }
  for (const TaskKind kind : AllTaskKinds()) {
    for (const char* outcome : kAttemptOutcomes) {
      families_->attempts.Add({{"kind", Text(TaskKindName(kind))}, {"outcome", outcome}});
    }
  }
  families_->build_info.Add({{"version", Text(version)}}).Set(1);
  families_->term.Set(static_cast<double>(term));
  families_->is_leader.Set(1);
  families_->start_time.Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
}
Metrics::~Metrics() = default;

void Metrics::JobSubmitted(absl::string_view heuristic) {
  families_->submitted.Add({{"heuristic", Text(heuristic)}}).Increment();
}
void Metrics::JobFinished(absl::string_view outcome, absl::Duration duration) {
  families_->finished.Add({{"outcome", Text(outcome)}}).Increment();
  // Its ends are wall times, and the clock may have been set between them.
  families_->job_duration.Add({}, JobBuckets())
      .Observe(absl::ToDoubleSeconds(std::max(duration, absl::ZeroDuration())));
}
void Metrics::AttemptEnded(TaskKind kind, absl::string_view outcome) {
  families_->attempts.Add({{"kind", Text(TaskKindName(kind))}, {"outcome", Text(outcome)}}).Increment();
}
void Metrics::TaskWaited(TaskKind kind, absl::Duration time) {
  families_->waits.Add({{"kind", Text(TaskKindName(kind))}}, TaskTimeBuckets())
      .Observe(absl::ToDoubleSeconds(time));
}
void Metrics::TaskRan(TaskKind kind, absl::Duration time) {
  families_->runs.Add({{"kind", Text(TaskKindName(kind))}}, TaskTimeBuckets())
      .Observe(absl::ToDoubleSeconds(time));
}
void Metrics::WorkerLost(absl::string_view cause) {
  families_->losses.Add({{"cause", Text(cause)}}).Increment();
}
void Metrics::LeaseExpired() { families_->lease_expirations.Increment(); }
void Metrics::CommitFenced(absl::string_view reason) {
  families_->fenced.Add({{"reason", Text(reason)}}).Increment();
}
void Metrics::ResultsDiffer() { families_->mismatches.Increment(); }
void Metrics::TaskAdopted() { families_->adopted.Increment(); }
void Metrics::RequestReplayed() { families_->replays.Increment(); }
void Metrics::StoreCommitted(absl::Duration time, size_t rows, bool ok) {
  families_->store_tx.Observe(absl::ToDoubleSeconds(time));
  families_->store_batch.Observe(static_cast<double>(rows));
  if (!ok) families_->store_errors.Increment();
}
void Metrics::DiskFull(bool full) { families_->disk_full.Set(full ? 1 : 0); }
void Metrics::QuarantinedBlobs(int64_t blobs) { families_->quarantined.Set(static_cast<double>(blobs)); }
void Metrics::ResultReopened(TaskKind kind) {
  families_->reopened.Add({{"kind", Text(TaskKindName(kind))}}).Increment();
}
void Metrics::RecordsSetAside(size_t jobs) { families_->set_aside.Set(static_cast<double>(jobs)); }
void Metrics::Recovered(absl::Duration time) { families_->recovery.Set(absl::ToDoubleSeconds(time)); }
void Metrics::WatchersChanged(int delta) { families_->watchers.Increment(delta); }
void Metrics::BlobBytes(absl::string_view direction, int64_t bytes) {
  families_->blob_bytes.Add({{"direction", Text(direction)}}).Increment(static_cast<double>(bytes));
}
void Metrics::StoredBlobBytes(int64_t bytes) { families_->cas.Set(static_cast<double>(bytes)); }
void Metrics::GarbageCollected(int64_t bytes) { families_->evicted.Increment(static_cast<double>(bytes)); }
void Metrics::DiskFree(int64_t bytes) { families_->disk_free.Set(static_cast<double>(bytes)); }
void Metrics::RpcStarted(absl::string_view service, absl::string_view method) {
  families_->rpc_started.Add({{"grpc_service", Text(service)}, {"grpc_method", Text(method)}}).Increment();
}
void Metrics::RpcHandled(absl::string_view service, absl::string_view method, absl::string_view code,
                         absl::Duration time) {
  const std::map<std::string, std::string> labels = {{"grpc_service", Text(service)},
                                                     {"grpc_method", Text(method)}};
  families_->rpc_seconds.Add(labels, RpcBuckets()).Observe(absl::ToDoubleSeconds(time));
  auto with_code = labels;
  with_code["grpc_code"] = Text(code);
  families_->rpc_handled.Add(with_code).Increment();
}

void Metrics::ExpectRpc(absl::string_view service, absl::string_view method, absl::string_view code) {
  const std::map<std::string, std::string> labels = {{"grpc_service", Text(service)},
                                                     {"grpc_method", Text(method)}};
  families_->rpc_started.Add(labels);
  auto with_code = labels;
  with_code["grpc_code"] = Text(code);
  families_->rpc_handled.Add(with_code);
}

void Metrics::Refresh(const FactCounts& counts) {
  Families& f = *families_;
  using Labels = std::map<std::string, std::string>;
  SetAll(f.jobs, f.known_jobs, counts.jobs, [](const auto& state) { return Labels{{"state", state}}; });
  SetAll(f.workers, f.known_workers, counts.workers, [](const auto& state) {
    return Labels{{"state", state}};
  });
  SetAll(f.tasks, f.known_tasks, counts.tasks, [](const auto& key) {
    return Labels{{"state", key.first}, {"kind", Text(TaskKindName(key.second))}};
  });
  f.ShowQualities(counts.newest_qualities);
  f.ready.Set(counts.ready_tasks);
  f.oldest_ready.Set(absl::ToDoubleSeconds(counts.oldest_ready_age));
}

std::string Metrics::Serialize() const {
  families_->resident.Set(static_cast<double>(ResidentBytes()));
  families_->open_fds.Set(static_cast<double>(OpenFiles()));
  families_->cpu.Increment(CpuSeconds() - families_->cpu.Value());
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace quantmoe
