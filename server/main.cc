// quantmoe-server: flags -> Coordinator::Start -> wait for a signal -> Stop.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/eventfd.h>

#include "base/crash_report.h"
#include "base/descriptor_limit.h"
#include "base/error_info.h"
#include "base/program_exit.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/log_flags.h"
#include "cli/model_source_flags.h"
#include "cli/number_range.h"
#include "cli/size_flag.h"
#include "net/listen_address.h"
#include "server/coordinator.h"
#include "sources/abandonable_call.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

struct Flags {
  CoordinatorOptions coordinator;
  double lease_seconds = 20;
  double heartbeat_seconds = 5;
  double blob_min_age_hours = 24;
  double unschedulable_hours = 24;
  LogFlags log;
  std::string port_file;
  bool insecure = false;
};

void Define(CLI::App& app, Flags& flags) {
  CoordinatorOptions& options = flags.coordinator;
  options.listen_address = "127.0.0.1:7070";
  options.worker_listen_address = "127.0.0.1:7071";
  options.http_listen_address = "127.0.0.1:7072";
  const auto option = [&app](const std::string& name, auto& value, const std::string& help) {
    std::string env = "QUANTMOE_" + name.substr(2);
    for (char& c : env) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
    return app.add_option(name, value, help)->envname(env)->capture_default_str();
  };
  option("--data-dir", options.data_dir, "where jobs, blobs and artifacts are kept")->required();
  option("--listen", options.listen_address, "host:port of the API");
  option("--worker-listen", options.worker_listen_address, "host:port for workers");
  option("--http-listen", options.http_listen_address, "host:port of /metrics, /healthz and /readyz");
  AddModelRootFlag(app, options.models);
  AddHubFlags(app, options.models.hub);
  option("--lease", flags.lease_seconds, "seconds of silence after which a worker is lost")
      ->check(cli::Within(Between(0.1, 3600)));
  option("--heartbeat", flags.heartbeat_seconds, "seconds between a worker's heartbeats")
      ->check(cli::Within(Between(0.02, 600)));
  option("--blob-min-age", flags.blob_min_age_hours, "hours for which unused blobs are kept")
      ->check(cli::Within(AtLeast(0)));
  option("--disk-reserve", options.disk_reserve_bytes,
         "room kept on the disk, such as 64MiB, by which a full disk can be cleared up; 0: none")
      ->transform(AsByteSize())
      ->check(CLI::NonNegativeNumber);
  option("--unschedulable-timeout", flags.unschedulable_hours,
         "hours for which a job waits for a worker that can take its next task, before it fails")
      ->check(cli::Within(Above(0)));
  option("--poison-limit", options.poison_deaths,
         "times that a worker may die while it runs one and the same task, before the job fails; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  AddLogFlags(app, flags.log);
  option("--tls-cert", options.tls.certificate, "PEM file of the server's certificate");
  option("--tls-key", options.tls.key, "PEM file of its key");
  option("--tls-ca", options.tls.client_ca, "PEM file of the authority that signs workers' certificates");
  option("--port-file", flags.port_file, "file to write the listening addresses to, as JSON");
  app.add_flag("--insecure", flags.insecure, "allow listeners beyond loopback without TLS")
      ->envname("QUANTMOE_INSECURE");
  app.set_config("--config", "", "file with options")->envname("QUANTMOE_CONFIG");
  app.allow_config_extras(CLI::config_extras_mode::error);
}

absl::Status CheckExposure(const Flags& flags) {
  const CoordinatorOptions& options = flags.coordinator;
  if (options.tls.certificate.empty() != options.tls.key.empty()) {
    return InvalidFields({{"--tls-key", "--tls-cert and --tls-key belong together"}});
  }
  if (!options.tls.client_ca.empty() && options.tls.certificate.empty()) {
    return InvalidFields({{"--tls-ca", "needs --tls-cert"}});
  }
  if (flags.heartbeat_seconds * 2 > flags.lease_seconds) {
    return InvalidFields({{"--heartbeat", "must be at most half of --lease"}});
  }
  for (const std::string& address :
       {options.listen_address, options.worker_listen_address, options.http_listen_address}) {
    ASSIGN_OR_RETURN(const ListenAddress parsed, ParseListenAddress(address));
    if (IsLoopback(parsed) || !options.tls.certificate.empty() || flags.insecure) continue;
    return MakeError(absl::StatusCode::kInvalidArgument, "INSECURE_LISTENER",
                     absl::StrCat(address, " is not loopback: give --tls-cert and --tls-key, or --insecure"));
  }
  return absl::OkStatus();
}

absl::Status WriteAddresses(const std::string& path, const Coordinator& coordinator) {
  const nlohmann::json addresses = {{"grpc", coordinator.address()},
                                    {"worker", coordinator.worker_address()},
                                    {"http", coordinator.http_address()}};
  return Annotate(WriteFileDurably(path, addresses.dump() + "\n"), "--port-file");
}

int stop_event = -1;

// Only async-signal-safe calls here. A second signal ends the process at once.
void OnSignal(int) {
  static volatile sig_atomic_t count = 0;
  count = count + 1;
  if (count > 1) _exit(130);
  const uint64_t one = 1;
  (void)!write(stop_event, &one, sizeof one);
}

void InstallSignals() {
  stop_event = eventfd(0, EFD_CLOEXEC);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void WaitForSignal() {
  uint64_t value = 0;
  while (read(stop_event, &value, sizeof value) < 0 && errno == EINTR) {
  }
}

absl::Status Run(Flags flags) {
  RETURN_IF_ERROR(CheckExposure(flags));
  RETURN_IF_ERROR(CheckModelSources(flags.coordinator.models));
  flags.coordinator.lease = absl::Seconds(flags.lease_seconds);
  flags.coordinator.heartbeat = absl::Seconds(flags.heartbeat_seconds);
  flags.coordinator.blob_min_age = absl::Hours(flags.blob_min_age_hours);
  flags.coordinator.unschedulable_timeout = absl::Hours(flags.unschedulable_hours);
  flags.coordinator.descriptors = RaiseDescriptorLimit();
  InstallSignals();
  ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Start(flags.coordinator));
  if (!flags.port_file.empty()) RETURN_IF_ERROR(WriteAddresses(flags.port_file, *coordinator));
  WaitForSignal();
  coordinator->Stop();
  return absl::OkStatus();
}

}  // namespace
}  // namespace quantmoe

int main(int argc, char** argv) {
  quantmoe::InstallCrashReport(argv[0]);
  CLI::App app("The coordinator of quantmoe: takes jobs, splits them into tasks, hands these to workers.",
               "quantmoe-server");
  app.set_version_flag("--version", quantmoe::kProgramVersion);
  quantmoe::Flags flags;
  quantmoe::Define(app, flags);
  if (const auto code = quantmoe::ParseFlags(app, argc, argv)) return *code;
  quantmoe::InitLogging(flags.log);
  return quantmoe::ExitCodeOrEnd(quantmoe::ReportExit("quantmoe-server", quantmoe::Run(flags)));
}
