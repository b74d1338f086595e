#include "tests/server/server_process.h"

#include <signal.h>
#include <spawn.h>

#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/wait.h>

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr absl::Duration kPoll = absl::Milliseconds(10);

int Describe(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status); }

}  // namespace

ServerProcess::ServerProcess(const std::string& data_dir, const Options& options) {
  const std::string ports = data_dir + ".ports";
  std::filesystem::remove(ports);
  std::string arguments[] = {QUANTMOE_SERVER,
                             "--data-dir",
                             data_dir,
                             "--listen",
                             "127.0.0.1:0",
                             "--worker-listen",
                             "127.0.0.1:0",
                             "--http-listen",
                             "127.0.0.1:0",
                             "--model-root",
                             QUANTMOE_TESTDATA,
                             "--port-file",
                             ports,
                             "--lease",
                             options.lease_seconds,
                             "--heartbeat",
                             options.heartbeat_seconds,
                             "--log-level",
                             "error"};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables = options.environment;
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, QUANTMOE_SERVER, nullptr, nullptr, argv.data(), environment.data()), 0);
  const absl::Time deadline = absl::Now() + kPatience;
  while (absl::Now() < deadline && !std::filesystem::exists(ports)) {
    siginfo_t info{};
    if (waitid(P_PID, pid_, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_) return;
    absl::SleepFor(kPoll);
  }
  std::ifstream in(ports);
  const auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return;
  listens_ = true;
  address_ = json["grpc"].get<std::string>();
  worker_address_ = json["worker"].get<std::string>();
}

ServerProcess::~ServerProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  AwaitExit();
}

void ServerProcess::LimitFileSizes(uint64_t bytes) {
  const rlimit limit{bytes, bytes};
  EXPECT_EQ(prlimit(pid_, RLIMIT_FSIZE, &limit, nullptr), 0);
}

int ServerProcess::Stop() {
  kill(pid_, SIGTERM);
  return AwaitExit();
}

int ServerProcess::AwaitExit() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return Describe(status);
}

}  // namespace quantmoe
