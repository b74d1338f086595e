// quantmoe-server as a process of its own, so that it can be killed.
#pragma once

#include <string>

#include <sys/types.h>

namespace quantmoe {

class ServerProcess {
 public:
  // `crash_at` is QUANTMOE_CRASH_AT; empty: none. Waits until it listens or has ended.
  ServerProcess(const std::string& data_dir, const std::string& crash_at);
  // Kills it if it still runs.
  ~ServerProcess();

  // False when it ended before it listened.
  bool listens() const { return listens_; }
  const std::string& address() const { return address_; }
  const std::string& worker_address() const { return worker_address_; }
  // Waits for its end; the exit status, or minus the signal.
  int AwaitExit();

 private:
  pid_t pid_ = -1;
  bool listens_ = false;
  std::string address_;
  std::string worker_address_;
};

}  // namespace quantmoe
