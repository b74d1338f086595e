// A coordinator at addresses that the system chooses, with stubs, in a directory of its own.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "quantmoe/v1/artifacts.grpc.pb.h"
#include "quantmoe/v1/blobs.grpc.pb.h"
#include "quantmoe/v1/catalog.grpc.pb.h"
#include "quantmoe/v1/jobs.grpc.pb.h"
#include "quantmoe/v1/system.grpc.pb.h"
#include "server/coordinator.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {

// A context with a deadline, so that a broken server fails the test instead of hanging it.
std::unique_ptr<grpc::ClientContext> WithDeadline(absl::Duration deadline = absl::Seconds(30));

class RunningServer {
 public:
  // Starts in an empty directory.
  explicit RunningServer(CoordinatorOptions options = QuickOptions());
  ~RunningServer();

  // Short lease and ticks.
  static CoordinatorOptions QuickOptions();

  void Stop();
  // Starts again on the same directory, at other ports.
  void Start();

  // A request that the tiny model of the test data satisfies.
  static v1::CreateJobRequest TinyJob();
  // Creates it and returns its name.
  std::string CreateTinyJob();
  v1::Job GetJob(const std::string& name);
  // Waits for the terminal event by watching.
  v1::Job AwaitEnd(const std::string& name);
  // Waits until `done` holds for the job.
  v1::Job AwaitJob(const std::string& name, const std::function<bool(const v1::Job&)>& done);

  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::ArtifactService::Stub& artifacts() { return *artifacts_; }
  v1::BlobService::Stub& blobs() { return *blobs_; }
  v1::CatalogService::Stub& catalog() { return *catalog_; }
  v1::SystemService::Stub& system() { return *system_; }
  Coordinator& coordinator() { return *coordinator_; }
  const std::string& data_dir() const { return options_.data_dir; }

 private:
  const TemporaryDirectory dir_;
  CoordinatorOptions options_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
  std::unique_ptr<v1::SystemService::Stub> system_;
};

// Whether nothing of the job was computed: equal tasks had given every result.
bool AllCached(const v1::Job& job);

}  // namespace quantmoe
