#include "worker/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"

namespace quantmoe {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kInvalid = 2;

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, signal);
  return signals;
}

// Blocks the signals that Supervise takes with sigtimedwait.
class BlockedSignals {
 public:
  BlockedSignals() : signals_(WatchedSignals()) { pthread_sigmask(SIG_BLOCK, &signals_, &before_); }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  const sigset_t& signals() const { return signals_; }

 private:
  const sigset_t signals_;
  sigset_t before_;
};

int ExitCode(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

std::string Describe(int status) {
  if (WIFEXITED(status)) return absl::StrCat("exit code ", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  // Nobody but the kernel's memory killer and people send this one.
  const char* hint = signal == SIGKILL ? " (the kernel log says whether memory ran out)" : "";
  return absl::StrCat("signal ", signal, " ", strsignal(signal), hint);
}

class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options) : options_(options) {}

  int Run() {
    for (int deaths = 0;;) {
      const absl::Duration start = Clock::Real().Monotonic();
      if (!StartChild()) return kFailed;
      const int status = AwaitChild();
      if (stopping_ || !IsDeath(status)) return ExitCode(status);
      const bool lived_long = Clock::Real().Monotonic() - start >= options_.long_life;
      deaths = lived_long ? 1 : deaths + 1;
      if (deaths >= options_.most_deaths) return GiveUp(deaths, status);
      const absl::Duration wait = WaitAfter(deaths);
      Log(LogLevel::kError, "the worker died and is started again",
          {{"by", Describe(status)}, {"deaths", deaths}, {"after", absl::FormatDuration(wait)}});
      Pause(wait);
      if (stopping_) return ExitCode(status);
    }
  }

 private:
  static bool IsDeath(int status) {
    return WIFSIGNALED(status) || (WEXITSTATUS(status) != kDone && WEXITSTATUS(status) != kInvalid);
  }

  static int GiveUp(int deaths, int status) {
    Log(LogLevel::kError, "the worker dies again and again; the supervisor ends",
        {{"by", Describe(status)}, {"deaths", deaths}});
    return ExitCode(status);
  }

  absl::Duration WaitAfter(int deaths) const {
    absl::Duration wait = options_.first_wait;
    for (int i = 1; i < deaths && wait < options_.longest_wait; ++i) wait *= 2;
    return std::min(wait, options_.longest_wait);
  }

  bool StartChild() {
    std::vector<char*> arguments;
    for (const std::string& argument : options_.command)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const pid_t parent = getpid();
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);  // a worker must not outlive who would stop it
      if (getppid() != parent) _exit(kFailed);
      // Whoever started the supervisor may have blocked them: a worker must hear that it is to stop.
      pthread_sigmask(SIG_UNBLOCK, &signals_.signals(), nullptr);
      execv(options_.program.c_str(), arguments.data());
      _exit(127);
    }
    if (child_ > 0) return true;
    Log(LogLevel::kError, "the worker cannot be started", {{"error", std::strerror(errno)}});
    return false;
  }

  int AwaitChild() {
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) != child_) {
      const int signal = sigwaitinfo(&signals_.signals(), nullptr);
      if (signal != SIGTERM && signal != SIGINT) continue;
      stopping_ = true;
      kill(child_, signal);
    }
    child_ = -1;
    return status;
  }

  // Ends early when the supervisor is to stop.
  void Pause(absl::Duration wait) {
    const absl::Duration until = Clock::Real().Monotonic() + wait;
    for (absl::Duration left = wait; left > absl::ZeroDuration() && !stopping_;
         left = until - Clock::Real().Monotonic()) {
      const timespec timeout = absl::ToTimespec(left);
      const int signal = sigtimedwait(&signals_.signals(), nullptr, &timeout);
      stopping_ = signal == SIGTERM || signal == SIGINT;
    }
  }

  const SupervisorOptions& options_;
  const BlockedSignals signals_;
  pid_t child_ = -1;
  bool stopping_ = false;
};

}  // namespace

int Supervise(const SupervisorOptions& options) { return Supervisor(options).Run(); }

}  // namespace quantmoe
