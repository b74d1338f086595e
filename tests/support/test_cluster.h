// A coordinator and workers in one process, over loopback TCP, with leases of tens of milliseconds and
// synthetic tasks. Waits have a deadline and fail the test when it passes.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include <grpcpp/channel.h>

#include "base/clock.h"
#include "quantmoe/v1/artifacts.grpc.pb.h"
#include "quantmoe/v1/jobs.grpc.pb.h"
#include "quantmoe/v1/system.grpc.pb.h"
#include "server/coordinator.h"
#include "tests/support/synthetic_tasks.h"
#include "tests/support/temporary_directory.h"
#include "worker/worker.h"

namespace quantmoe {

// The real clock until it is frozen; then time stands still, as it does for a process that is stopped.
// Thread-safe.
class FreezableClock : public Clock {
 public:
  absl::Time Now() const override { return Clock::Real().Now(); }
  absl::Duration Monotonic() const override {
    const int64_t frozen = frozen_ns_;
    return frozen == kRunning ? Clock::Real().Monotonic() : absl::Nanoseconds(frozen);
  }
  void Freeze() { frozen_ns_ = absl::ToInt64Nanoseconds(Clock::Real().Monotonic()); }

 private:
  static constexpr int64_t kRunning = -1;
  std::atomic<int64_t> frozen_ns_{kRunning};
};

class TestCluster {
 public:
  struct Options {
    int workers = 1;
    absl::Duration heartbeat = absl::Milliseconds(40);
    absl::Duration lease = absl::Milliseconds(400);
    BlobMode blob_mode = BlobMode::kAuto;
  };

  explicit TestCluster(Options options);
  ~TestCluster();

  SyntheticTasks& tasks() { return tasks_; }
  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::SystemService::Stub& system() { return *system_; }

  // Workers are named w0, w1, ... in the order in which they are added.
  std::string AddWorker();
  Worker& worker(const std::string& name) { return *workers_.at(name).worker; }
  // Ends it at once, without a word to the coordinator.
  void KillWorker(const std::string& name);
  // Its clock stands still: no heartbeat, no new session. What it computes goes on.
  void FreezeWorker(const std::string& name) { workers_.at(name).clock->Freeze(); }
  void AwaitWorkers(int connected);

  // The same data directory and ports every time.
  void StartCoordinator();
  void StopCoordinator();

  // A job on the tiny model; returns its name.
  std::string CreateJob();
  v1::Job GetJob(const std::string& name);
  // Fails the test when the job does not get there in 60 s.
  v1::Job AwaitJob(const std::string& name, v1::Job::State state);
  std::string ManifestDigest(const std::string& job_name);
  std::vector<v1::Task> ListTasks(const std::string& job_name);
  std::vector<v1::JobEvent> ListEvents(const std::string& job_name);

 private:
  struct Member {
    std::unique_ptr<FreezableClock> clock;  // outlives the worker
    std::unique_ptr<Worker> worker;
  };

  const Options options_;
  const TemporaryDirectory dir_;
  SyntheticTasks tasks_;
  std::string client_address_ = "127.0.0.1:0";
  std::string worker_address_ = "127.0.0.1:0";
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::SystemService::Stub> system_;
  std::map<std::string, Member> workers_;
};

// Waits until `condition` holds, polling; false after `patience`.
bool WaitUntil(const std::function<bool()>& condition, absl::Duration patience = absl::Seconds(60));

}  // namespace quantmoe
