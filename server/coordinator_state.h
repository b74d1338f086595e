// The parts of a coordinator in the order in which they need each other; internal to coordinator.cc.
#pragma once

#include <atomic>
#include <memory>

#include "net/http_endpoint.h"
#include "server/coordinator_options.h"
#include "server/facts/sqlite_store.h"
#include "server/loop/disk_reserve.h"
#include "server/service_context.h"
#include "server/upkeep.h"
#include "server/wire/artifact_service.h"
#include "server/wire/blob_service.h"
#include "server/wire/catalog_service.h"
#include "server/wire/job_service.h"
#include "server/wire/listeners.h"
#include "server/wire/system_service.h"
#include "server/wire/worker_service.h"

namespace quantmoe {

struct CoordinatorState {
  CoordinatorState(CoordinatorOptions o, std::unique_ptr<DiskReserve> d, std::unique_ptr<SqliteStore> s,
                   std::unique_ptr<LocalBlobStore> b, WorkerSessions::Options session_options);

  const CoordinatorOptions options;
  std::unique_ptr<DiskReserve> disk;
  std::unique_ptr<SqliteStore> store;
  std::unique_ptr<LocalBlobStore> blobs;
  Metrics metrics;
  Rooms rooms;
  FactsRecorder facts;
  CommitLoop loop;
  WorkerLinks links;
  JobLifecycle jobs;
  TaskAttempts attempts;
  WorkerSessions sessions;
  JobWatchers watchers;
  ServiceContext context;
  Upkeep upkeep;

  JobServiceHandler job_service;
  ArtifactServiceHandler artifact_service;
  CatalogServiceHandler catalog_service;
  SystemServiceHandler system_service;
  BlobServiceHandler blob_service;         // for clients
  BlobServiceHandler worker_blob_service;  // for workers, which clients' transfers must not hold up
  WorkerServiceHandler worker_service;

  std::unique_ptr<Listener> public_listener;
  std::unique_ptr<Listener> worker_listener;
  std::unique_ptr<HttpEndpoint> http;
  std::atomic<bool> ready{false};
  bool stopped = false;
};

}  // namespace quantmoe
