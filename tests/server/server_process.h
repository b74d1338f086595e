// quantmoe-server as a process of its own, so that it can be killed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

namespace quantmoe {

class ServerProcess {
 public:
  struct Options {
    std::vector<std::string> environment = {};  // NAME=value
    std::string lease_seconds = "30";
    std::string heartbeat_seconds = "10";
  };
  // Waits until it listens or has ended.
  ServerProcess(const std::string& data_dir, const Options& options);
  // `crash_at` is QUANTMOE_CRASH_AT; empty: none.
  ServerProcess(const std::string& data_dir, const std::string& crash_at)
      : ServerProcess(data_dir, Options{.environment = {"QUANTMOE_CRASH_AT=" + crash_at}}) {}
  // Kills it if it still runs.
  ~ServerProcess();

  // False when it ended before it listened.
  bool listens() const { return listens_; }
  const std::string& address() const { return address_; }
  const std::string& worker_address() const { return worker_address_; }
  // Waits for its end; the exit status, or minus the signal.
  int AwaitExit();
  // From now on no file that it writes may end after so many bytes: as on a full disk, but for it alone.
  void LimitFileSizes(uint64_t bytes);
  // Sends SIGTERM and waits for its end.
  int Stop();

 private:
  pid_t pid_ = -1;
  bool listens_ = false;
  std::string address_;
  std::string worker_address_;
};

}  // namespace quantmoe
