#include "server/coordinator.h"

#include <filesystem>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/timed_wait.h"
#include "base/version.h"
#include "plan/job/shipped_prose.h"
#include "server/coordinator_state.h"
#include "server/facts/random_id.h"
#include "server/report/report_server.h"
#include "server/wire/connection_limits.h"
#include "server/wire/http_pages.h"
#include "server/wire/job_data.h"
#include "storage/durable_file.h"
#include "storage/output_directory.h"

namespace quantmoe {
namespace {

// For calls in flight; what is left of 10 s is for everything else that ends.
constexpr absl::Duration kDrainTime = absl::Seconds(4);

SchedulingLimits LimitsOf(const CoordinatorOptions& options) {
  SchedulingLimits limits;
  limits.lease = options.lease;
  limits.heartbeat = options.heartbeat;
  limits.poison_deaths = options.poison_deaths;
  return limits;
}

// As it was named, links and all: workers on other machines may know the place by that name.
std::string AbsoluteDataDir(const std::string& dir) {
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::absolute(dir, ignored).lexically_normal();
  return path.has_filename() ? path.string() : path.parent_path().string();
}

// A file by which a worker finds out whether it sees the same directory.
absl::StatusOr<WorkerSessions::Options> PrepareSessions(const CoordinatorOptions& options,
                                                        const std::string& blob_dir, int64_t term) {
  WorkerSessions::Options sessions;
  sessions.limits = LimitsOf(options);
  sessions.no_progress_timeout = options.no_progress_timeout;
  sessions.unschedulable_timeout = options.unschedulable_timeout;
  sessions.term = term;
  sessions.blob_dir = blob_dir;
  sessions.blob_dir_probe = "probe";
  sessions.blob_dir_probe_text = RandomHex(/*bytes=*/16);
  RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(blob_dir, "/", sessions.blob_dir_probe), sessions.blob_dir_probe_text));
  return sessions;
}

// Repeats a step of the start for as long as the disk is full and the reserve has something to give.
template <typename Step>
auto WithReserve(DiskReserve& disk, const Step& step) {
  while (true) {
    auto result = step();
    absl::Status status;
    if constexpr (std::is_same_v<decltype(result), absl::Status>) {
      status = result;
    } else {
      status = result.status();
    }
    if (!IsDiskFull(status) || !disk.GiveUp()) return result;
  }
}

// Brings back a text that a job was submitted with: the shipped ones, and files that the spec names by URI.
absl::Status RestoreText(ServiceContext& context, const Digest& digest, v1::JobSpec spec) {
  if (RestoreShippedText(context, digest)) return absl::OkStatus();
  RETURN_IF_ERROR(FetchJobData(context, spec));
  return context.blobs().Verify(digest);
}

void ReportUnreadable(const FactsRecorder& facts, Metrics& metrics) ON_LOOP {
  metrics.RecordsSetAside(facts.unreadable().size());
  for (const auto& [job, error] : facts.unreadable()) {
    Log(LogLevel::kError, "the records of a job cannot be read and were set aside",
        {{"job", job}, {"error", error.ToString()}});
  }
}

// Reads the facts before there is a loop that could change them. Returns how many jobs there are.
absl::StatusOr<size_t> ReadFacts(CoordinatorState& s) {
  const LoopScope before_the_loop;
  RETURN_IF_ERROR(s.facts.Reload());
  ReportUnreadable(s.facts, s.metrics);
  s.sessions.BeginRecovery();
  s.jobs.Resume();
  return s.facts.table().jobs().size();
}

void StartLoop(CoordinatorState& s) {
  CommitLoop::Hooks hooks;
  hooks.tick = [&s] {
    loop_thread.AssertHeld();
    s.upkeep.Tick();
  };
  hooks.after_operations = [&s] {
    loop_thread.AssertHeld();
    s.jobs.StartLookups();
  };
  hooks.before_commit = [&s] {
    loop_thread.AssertHeld();
    s.sessions.Dispatch();
    s.jobs.StartLookups();
  };
  hooks.after_reload = [&s] {
    loop_thread.AssertHeld();
    s.sessions.AfterReload();
  };
  hooks.news = [&s](const std::set<std::string>& jobs) {
    loop_thread.AssertHeld();
    s.watchers.Notify(s.facts.table(), jobs);
  };
  s.loop.Start(std::move(hooks), s.options.tick);
}

// What stands in the data directory, claimed for this process.
absl::StatusOr<std::unique_ptr<CoordinatorState>> OpenState(CoordinatorOptions options) {
  options.data_dir = AbsoluteDataDir(options.data_dir);
  RETURN_IF_ERROR(ClaimDataDirectory(options.data_dir));
  auto disk = std::make_unique<DiskReserve>(DiskReserve::Options{options.data_dir, options.disk_reserve_bytes,
                                                                 options.free_bytes, options.write_error});
  ASSIGN_OR_RETURN(auto store, SqliteStore::Open(options.data_dir, options.clock->Now(),
                                                 [&reserve = *disk] { return reserve.GiveUp(); }));
  RETURN_IF_ERROR(WithReserve(*disk, [&] { return MakeDirs(options.data_dir + "/artifacts"); }));
  ASSIGN_OR_RETURN(auto blobs,
                   WithReserve(*disk, [&] { return LocalBlobStore::Open(options.data_dir + "/blobs"); }));
  ASSIGN_OR_RETURN(auto sessions,
                   WithReserve(*disk, [&] { return PrepareSessions(options, blobs->dir(), store->term()); }));
  disk->Refresh();
  auto state = std::make_unique<CoordinatorState>(std::move(options), std::move(disk), std::move(store),
                                                  std::move(blobs), std::move(sessions));
  CoordinatorState& s = *state;
  ASSIGN_OR_RETURN(s.context.calibration_prose,
                   WithReserve(*s.disk, [&] { return s.blobs->Ensure(ShippedCalibrationProse()); }));
  ASSIGN_OR_RETURN(s.context.heldout_prose,
                   WithReserve(*s.disk, [&] { return s.blobs->Ensure(ShippedHeldoutProse()); }));
  return state;
}

absl::Status StartListeners(CoordinatorState& s, const ConnectionLimits& connections) {
  ASSIGN_OR_RETURN(
      s.public_listener,
      Listener::Start(
          s.options.listen_address, s.options.tls, ListenerKind::kPublic, connections.api,
          {&s.job_service, &s.artifact_service, &s.catalog_service, &s.system_service, &s.blob_service}));
  ASSIGN_OR_RETURN(s.worker_listener,
                   Listener::Start(s.options.worker_listen_address, s.options.tls, ListenerKind::kWorkers,
                                   connections.workers, {&s.worker_service, &s.worker_blob_service}));
  for (const char* service : {v1::JobService::service_full_name(), v1::ArtifactService::service_full_name(),
                              v1::CatalogService::service_full_name(), v1::SystemService::service_full_name(),
                              v1::BlobService::service_full_name()}) {
    s.public_listener->AnswerHealthOf(service);
  }
  s.worker_listener->AnswerHealthOf(v1::WorkerService::service_full_name());
  return absl::OkStatus();
}

// Pages, metrics and probes, over HTTP.
HttpEndpoint::Answers AnswersOf(CoordinatorState& s) {
  HttpPages pages{.jobs = [&s] { return ShowJobs(s.context, LimitsOf(s.options)); },
                  .report = [&s](const std::string& job) { return ShowReport(s.context, job); },
                  .report_json = [&s](const std::string& job) { return ReportOf(s.context, job); }};
  HttpEndpoint::Answers answers;
  answers.metrics = [&s] { return s.metrics.Serialize(); };
  answers.healthy = [&s] { return s.upkeep.Beats(); };
  answers.ready = [&s] { return s.ready.load() && s.upkeep.Beats(); };
  answers.notice = [&s] { return s.disk->Explain(); };
  answers.page = [pages = std::move(pages)](const std::string& path) { return AnswerPage(pages, path); };
  return answers;
}

}  // namespace

CoordinatorState::CoordinatorState(CoordinatorOptions o, std::unique_ptr<DiskReserve> d,
                                   std::unique_ptr<SqliteStore> s, std::unique_ptr<LocalBlobStore> b,
                                   WorkerSessions::Options session_options)
    : options(std::move(o)),
      disk(std::move(d)),
      store(std::move(s)),
      blobs(std::move(b)),
      metrics(kProgramVersion, store->term()),
      facts(*store, *options.clock),
      loop(*store, facts, metrics),
      links(loop),
      jobs({.artifacts_dir = options.data_dir + "/artifacts",
            .models = options.models,
            .max_active_jobs = options.max_active_jobs,
            .restore_text = [this](const Digest& digest,
                                   const v1::JobSpec& spec) { return RestoreText(context, digest, spec); }},
           facts, loop, links, *store, *blobs, *disk, rooms, metrics, *options.clock),
      attempts(facts, jobs, links, metrics, *options.clock, LimitsOf(options), store->term()),
      sessions(std::move(session_options), facts, jobs, attempts, links, metrics, *options.clock),
      watchers(metrics),
      context{.data_dir = options.data_dir,
              .artifacts_dir = options.data_dir + "/artifacts",
              .models = options.models,
              .calibration_prose = {},
              .heldout_prose = {},
              .term = store->term(),
              .clock = *options.clock,
              .metrics = metrics,
              .disk = *disk,
              .loop = loop,
              .rooms = rooms,
              .facts = facts,
              .links = links,
              .jobs = jobs,
              .attempts = attempts,
              .sessions = sessions,
              .watchers = watchers,
              .blob_store = *blobs,
              .state_store = *store},
      upkeep(context, {LimitsOf(options), options.blob_min_age, options.garbage_interval}),
      job_service(context),
      artifact_service(context),
      catalog_service(context),
      system_service(context, LimitsOf(options)),
      blob_service(context, rooms.blobs),
      worker_blob_service(context, rooms.worker_blobs),
      worker_service(context) {}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(CoordinatorOptions options) {
  const absl::Duration start = Clock::Real().Monotonic();
  ASSIGN_OR_RETURN(auto state, OpenState(std::move(options)));
  CoordinatorState& s = *state;
  ASSIGN_OR_RETURN(const size_t known_jobs, ReadFacts(s));
  s.metrics.Recovered(Clock::Real().Monotonic() - start);
  ExpectCalls(s.metrics);
  std::unique_ptr<Coordinator> coordinator(new Coordinator(std::move(state)));
  StartLoop(s);
  const ConnectionLimits connections = LimitConnections(s.options.descriptors);
  RETURN_IF_ERROR(StartListeners(s, connections));
  ASSIGN_OR_RETURN(s.http, HttpEndpoint::Start(s.options.http_listen_address, AnswersOf(s),
                                               {.max_connections = static_cast<int>(connections.http)}));
  s.ready = true;
  Log(LogLevel::kInfo, "coordinator started",
      {{"address", coordinator->address()},
       {"worker_address", coordinator->worker_address()},
       {"http_address", coordinator->http_address()},
       {"term", s.store->term()},
       {"jobs", known_jobs}});
  return coordinator;
}

Coordinator::Coordinator(std::unique_ptr<CoordinatorState> state) : state_(std::move(state)) {}
Coordinator::~Coordinator() { Stop(); }

const std::string& Coordinator::address() const { return state_->public_listener->address(); }
const std::string& Coordinator::worker_address() const { return state_->worker_listener->address(); }
const std::string& Coordinator::http_address() const { return state_->http->address(); }

void Coordinator::Stop() {
  CoordinatorState& s = *state_;
  if (std::exchange(s.stopped, true)) return;
  s.ready = false;
  if (s.public_listener != nullptr) s.public_listener->SetServing(false);
  if (s.worker_listener != nullptr) s.worker_listener->SetServing(false);
  s.rooms.InterruptReadsFromOutside();
  TellStreams();
  // All at once: each may take the whole time.
  std::thread workers([&s] {
    if (s.worker_listener != nullptr) s.worker_listener->Stop(kDrainTime);
  });
  std::thread pages([&s] { s.http.reset(); });
  if (s.public_listener != nullptr) s.public_listener->Stop(kDrainTime);
  workers.join();
  pages.join();
  s.rooms.Stop();
  s.loop.Stop();
  Log(LogLevel::kInfo, "coordinator stopped");
}

void Coordinator::TellStreams() {
  struct Told {
    absl::Mutex mutex;
    TimedWait changed;
    bool done ABSL_GUARDED_BY(mutex) = false;
  };
  CoordinatorState& s = *state_;
  const auto told = std::make_shared<Told>();
  s.loop.Post([&s, told] {
    loop_thread.AssertHeld();
    s.sessions.CloseAll(ShuttingDown());
    s.watchers.CloseAll(ShuttingDown());
    NotifyingLock lock(&told->mutex, &told->changed);
    told->done = true;
  });
  absl::MutexLock lock(&told->mutex);
  told->changed.AwaitFor(told->mutex, kDrainTime,
                         [&told]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return told->done; });
}

}  // namespace quantmoe
