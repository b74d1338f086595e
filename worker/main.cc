// quantmoe-worker: computes tasks for a coordinator until it is told to stop.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "base/crash_report.h"
#include "base/descriptor_limit.h"
#include "base/error_info.h"
#include "base/host_memory.h"
#include "base/program_exit.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/log_flags.h"
#include "cli/model_source_flags.h"
#include "cli/size_flag.h"
#include "quant/device/compute_device.h"
#include "quant/device/instruction_set.h"
#include "quant/tasks/run_task.h"
#include "sources/abandonable_call.h"
#include "storage/durable_file.h"
#include "storage/work_directory.h"
#include "worker/supervisor.h"
#include "worker/worker.h"

namespace quantmoe {
namespace {

constexpr double kDefaultMemoryShare = 0.8;
// Set for the child of a supervisor, whose flags are the same.
constexpr char kSupervised[] = "QUANTMOE_SUPERVISED";
constexpr char kScratchVariable[] = "QUANTMOE_SCRATCH_DIR";

struct Flags {
  Worker::Options worker;
  std::string blobs = "auto";
  std::string device = "auto";
  std::string instruction_set = "auto";
  std::string drain_timeout = "5m";
  std::string exit_when_idle = "inf";
  std::string port_file;
  bool supervise = false;
  LogFlags log;
};

void AddConnectionFlags(CLI::App& app, Flags& flags) {
  CoordinatorClient::Options& coordinator = flags.worker.coordinator;
  app.add_option("--server", coordinator.address, "the coordinator's worker listener")
      ->envname("QUANTMOE_WORKER_SERVER")
      ->capture_default_str();
  app.add_option("--worker-id", flags.worker.worker_id,
                 "unique name (default: host, process and a random number)")
      ->envname("QUANTMOE_WORKER_ID");
  app.add_option("--tls-ca", coordinator.tls_ca_file, "PEM: who signed the coordinator's certificate")
      ->envname("QUANTMOE_TLS_CA")
      ->check(CLI::ExistingFile);
  auto* cert = app.add_option("--tls-cert", coordinator.tls_cert_file, "PEM: this worker's certificate")
                   ->envname("QUANTMOE_TLS_CERT")
                   ->check(CLI::ExistingFile);
  app.add_option("--tls-key", coordinator.tls_key_file, "PEM: the certificate's key")
      ->envname("QUANTMOE_TLS_KEY")
      ->check(CLI::ExistingFile)
      ->needs(cert);
  app.add_flag("--insecure", coordinator.insecure, "allow plain text to an address that is not loopback")
      ->envname("QUANTMOE_INSECURE");
}

void AddResourceFlags(CLI::App& app, Flags& flags) {
  Worker::Options& worker = flags.worker;
  app.add_option("--threads", worker.threads, "threads of the numerics")
      ->envname("QUANTMOE_THREADS")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--device", flags.device,
                 "auto, cpu, cuda or cuda:N; auto takes the first GPU that can be used")
      ->envname("QUANTMOE_DEVICE")
      ->capture_default_str();
  app.add_option("--instruction-set", flags.instruction_set,
                 "auto, avx512, avx2 or baseline; auto takes the best of this machine")
      ->envname("QUANTMOE_INSTRUCTION_SET")
      ->capture_default_str();
  app.add_option(
         "--memory", worker.memory_bytes,
         "memory for tasks, such as 8GiB (default: 80 % of what is available, of the host or of the GPU)")
      ->envname("QUANTMOE_MEMORY")
      ->transform(AsByteSize());
  AddModelRootFlag(app, worker.models);
  AddHubFlags(app, worker.models.hub);
  app.add_option("--blobs", flags.blobs, "how blobs are reached")
      ->envname("QUANTMOE_BLOBS")
      ->check(CLI::IsMember({"auto", "shared", "streamed"}))
      ->capture_default_str();
  app.add_option("--scratch-dir", worker.scratch_dir,
                 "where streamed blobs are kept, one directory a worker (default: a temporary one)")
      ->envname(kScratchVariable);
  app.add_option("--cache", worker.cache_bytes, "most bytes of streamed blobs to keep")
      ->envname("QUANTMOE_CACHE")
      ->transform(AsByteSize())
      ->capture_default_str();
}

void AddOperationFlags(CLI::App& app, Flags& flags) {
  app.add_option("--http-listen", flags.worker.http_address,
                 "address of /metrics, /healthz and /readyz; empty: none")
      ->envname("QUANTMOE_HTTP_LISTEN")
      ->capture_default_str();
  app.add_option("--port-file", flags.port_file, "write the HTTP port here once it is known")
      ->envname("QUANTMOE_PORT_FILE");
  app.add_option("--drain-timeout", flags.drain_timeout, "how long the running task may go on after SIGTERM")
      ->envname("QUANTMOE_DRAIN_TIMEOUT")
      ->capture_default_str();
  app.add_option("--exit-when-idle", flags.exit_when_idle,
                 "leave after this long without a task, such as 10m")
      ->envname("QUANTMOE_EXIT_WHEN_IDLE")
      ->capture_default_str();
  app.add_flag("--supervise", flags.supervise,
               "run as the parent of a worker that is started again when it dies")
      ->envname("QUANTMOE_SUPERVISE");
  AddLogFlags(app, flags.log);
}

Flags DefaultFlags() {
  Flags flags;
  flags.worker.coordinator.address = "127.0.0.1:7071";
  flags.worker.http_address = "127.0.0.1:0";
  flags.worker.threads = std::max(1u, std::thread::hardware_concurrency());
  return flags;
}

// Two workers must not share a cache: each forgets files by its own account.
absl::StatusOr<WorkDirectory> OwnScratch() {
  std::error_code error;
  const std::filesystem::path place = std::filesystem::temp_directory_path(error);
  std::string dir = absl::StrCat(error ? "/tmp" : place.string(), "/quantmoe-worker-XXXXXX");
  if (mkdtemp(dir.data()) == nullptr) return ErrnoError(errno, absl::StrCat("cannot create ", dir));
  return WorkDirectory::Open(dir, WorkDirectory::Use::kAlone);
}

absl::Status ApplyTexts(Flags& flags) {
  if (!absl::ParseDuration(flags.drain_timeout, &flags.worker.drain_timeout)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--drain-timeout: \"", flags.drain_timeout, "\" is not a duration"));
  }
  if (!absl::ParseDuration(flags.exit_when_idle, &flags.worker.exit_when_idle)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--exit-when-idle: \"", flags.exit_when_idle, "\" is not a duration"));
  }
  absl::StatusOr<BlobMode> mode = ParseBlobMode(flags.blobs);
  if (mode.ok()) flags.worker.blob_mode = *mode;
  return mode.status();
}

// `device` becomes the one of the worker.
absl::Status AddNumerics(const Flags& flags, ComputeDevice& device, Worker::Options& worker) {
  RETURN_IF_ERROR(ChooseInstructionSet(flags.instruction_set));
  SetComputeThreads(worker.threads);
  ASSIGN_OR_RETURN(device, OpenComputeDevice(flags.device));
  worker.device = device.name;
  worker.compute_device = &device;
  worker.run_task = RunTask;
  worker.determinism_class = DeterminismClass(device);
  if (worker.memory_bytes == 0) {
    // A task needs both: its inputs come through the host.
    int64_t available = AvailableMemoryBytes();
    if (device.is_gpu()) available = std::min(available, device.memory_bytes);
    worker.memory_bytes = static_cast<int64_t>(kDefaultMemoryShare * static_cast<double>(available));
  }
  return absl::OkStatus();
}

// Made before any other thread, so that all inherit the mask and only this one gets the signals: the first
// one drains the worker, the second ends the process.
class SignalThread {
 public:
  SignalThread() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  ~SignalThread() {
    if (!thread_.joinable()) return;
    done_ = true;
    // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread): the signal is blocked, the thread waits for it.
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }
  // `worker` must outlive this object.
  void Watch(Worker& worker) { thread_ = std::thread(&SignalThread::SignalLoop, this, std::ref(worker)); }

 private:
  void SignalLoop(Worker& worker) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0 || done_) return;
    worker.RequestDrain();
    if (sigwait(&signals_, &signal) == 0 && !done_) _exit(128 + signal);
  }

  sigset_t signals_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

absl::Status RunUntilEnd(Flags& flags, std::unique_ptr<Worker>& worker, SignalThread& signals) {
  ASSIGN_OR_RETURN(worker, Worker::Start(flags.worker));
  signals.Watch(*worker);
  if (!flags.port_file.empty()) {
    const std::string port = absl::StrCat(worker->http_port(), "\n");
    RETURN_IF_ERROR(Annotate(WriteFileDurably(flags.port_file, port), "--port-file"));
  }
  Log(LogLevel::kInfo, "worker started",
      {{"worker", worker->id()},
       {"server", flags.worker.coordinator.address},
       {"http_port", worker->http_port()},
       {"device", flags.worker.device},
       {"determinism_class", flags.worker.determinism_class},
       {"threads", flags.worker.threads},
       {"memory_bytes", flags.worker.memory_bytes}});
  return worker->AwaitEnd();
}

absl::Status Serve(Flags& flags) {
  RETURN_IF_ERROR(ApplyTexts(flags));
  // Without roots, the coordinator's are the only ones.
  flags.worker.models.confined = !flags.worker.models.roots.empty();
  RETURN_IF_ERROR(CheckModelSources(flags.worker.models));
  InitLogging(flags.log);
  RaiseDescriptorLimit();
  ComputeDevice device;
  std::unique_ptr<Worker> worker;
  SignalThread signals;
  RETURN_IF_ERROR(AddNumerics(flags, device, flags.worker));
  // Behind all that can be refused, so that nothing is left of a worker that does not start.
  std::optional<WorkDirectory> own_scratch;
  if (flags.worker.scratch_dir.empty()) {
    ASSIGN_OR_RETURN(own_scratch, OwnScratch());
    flags.worker.scratch_dir = own_scratch->path();
  }
  absl::Status end = RunUntilEnd(flags, worker, signals);
  if (worker != nullptr) worker->Stop();
  if (own_scratch.has_value()) end.Update(own_scratch->Remove());
  return end;
}

// The parent of this program with the same flags. What a worker that dies leaves in its scratch directory is
// there for the next one, and goes with the supervisor.
int SuperviseWorker(const Flags& flags, int argc, char** argv) {
  InitLogging(flags.log);
  SupervisorOptions options;
  options.program = "/proc/self/exe";
  options.command.assign(argv, argv + argc);
  setenv(kSupervised, "1", /*overwrite=*/1);
  std::optional<WorkDirectory> scratch;
  if (flags.worker.scratch_dir.empty()) {
    absl::StatusOr<WorkDirectory> made = OwnScratch();
    if (!made.ok()) return ReportExit("quantmoe-worker", made.status());
    scratch = *std::move(made);
    setenv(kScratchVariable, scratch->path().c_str(), /*overwrite=*/1);
  }
  const int code = Supervise(options);
  if (scratch.has_value()) (void)scratch->Remove();
  return code;
}

int Main(int argc, char** argv) {
  Flags flags = DefaultFlags();
  CLI::App app("Computes tasks of quantmoe jobs for a coordinator.", "quantmoe-worker");
  app.set_version_flag("--version", kProgramVersion);
  app.set_config("--config", "", "file with these options as name=value lines")->envname("QUANTMOE_CONFIG");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddConnectionFlags(app, flags);
  AddResourceFlags(app, flags);
  AddOperationFlags(app, flags);
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  if (flags.supervise && std::getenv(kSupervised) == nullptr) return SuperviseWorker(flags, argc, argv);
  return ExitCodeOrEnd(ReportExit("quantmoe-worker", Serve(flags)));
}

}  // namespace
}  // namespace quantmoe

int main(int argc, char** argv) {
  quantmoe::InstallCrashReport(argv[0]);
  return quantmoe::Main(argc, argv);
}
