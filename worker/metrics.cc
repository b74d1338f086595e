#include "worker/metrics.h"

#include <chrono>

#include "absl/strings/ascii.h"
#include <prometheus/text_serializer.h>
#include <quantmoe/v1/worker.pb.h>

#include "base/host_memory.h"
#include "base/task_time_buckets.h"
#include "plan/graph/task_graph.h"

namespace quantmoe {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Histogram;

const Histogram::BucketBoundaries kRoundTripSeconds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                       0.05,   0.1,   0.25,   0.5,   1,    5};

double UnixSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

WorkerMetrics::WorkerMetrics(const std::string& version, const std::string& device, int64_t memory_bytes)
    : device_(device),
      run_seconds_(BuildHistogram()
                       .Name("quantmoe_task_run_seconds")
                       .Help("Time that attempts ran on this worker.")
                       .Register(registry_)),
      tasks_(BuildCounter()
                 .Name("quantmoe_worker_tasks_total")
                 .Help("Attempts by how they ended on this worker.")
                 .Register(registry_)),
      blob_bytes_(BuildCounter()
                      .Name("quantmoe_blob_bytes_total")
                      .Help("Bytes of blobs moved by streaming, and where they came from or went to.")
                      .Register(registry_)),
      blob_cache_(BuildCounter()
                      .Name("quantmoe_blob_cache_total")
                      .Help("Look-ups and evictions in the local blob cache.")
                      .Register(registry_)),
      memory_(BuildGauge()
                  .Name("quantmoe_device_memory_bytes")
                  .Help("Memory that tasks may use, that is in use, and the peak of the last task.")
                  .Register(registry_)),
      heartbeat_rtt_(BuildHistogram()
                         .Name("quantmoe_heartbeat_rtt_seconds")
                         .Help("From sending a heartbeat to its acknowledgement.")
                         .Register(registry_)
                         .Add({}, kRoundTripSeconds)),
      reconnects_(BuildCounter()
                      .Name("quantmoe_worker_session_reconnects_total")
                      .Help("Sessions that were lost and opened again.")
                      .Register(registry_)
                      .Add({})),
      busy_(BuildGauge()
                .Name("quantmoe_worker_busy")
                .Help("1 while an attempt runs.")
                .Register(registry_)
                .Add({})),
      process_cpu_(BuildCounter()
                       .Name("process_cpu_seconds_total")
                       .Help("Processor time of the process.")
                       .Register(registry_)
                       .Add({})),
      process_memory_(BuildGauge()
                          .Name("process_resident_memory_bytes")
                          .Help("Resident memory of the process.")
                          .Register(registry_)
                          .Add({})) {
  ShowAtZero();
  memory_.Add({{"device", device_}, {"kind", "total"}}).Set(static_cast<double>(memory_bytes));
  BuildGauge()
      .Name("quantmoe_build_info")
      .Help("1, with the version as a label.")
      .Register(registry_)
      .Add({{"version", version}, {"component", "worker"}})
      .Set(1);
  BuildGauge()
      .Name("process_start_time_seconds")
      .Help("When the process began, in seconds since 1970.")
      .Register(registry_)
      .Add({})
      .Set(UnixSeconds());
}

void WorkerMetrics::ShowAtZero() {
  std::vector<std::string> outcomes = {"ok", "not_taken", "stale"};
  for (int value = 0; value < v1::FailTaskRequest::FailureClass_ARRAYSIZE; ++value) {
    if (!v1::FailTaskRequest::FailureClass_IsValid(value)) continue;
    outcomes.push_back(absl::AsciiStrToLower(v1::FailTaskRequest::FailureClass_Name(value)));
  }
  for (const TaskKind kind : AllTaskKinds()) {
    for (const std::string& outcome : outcomes) {
      tasks_.Add({{"kind", std::string(TaskKindName(kind))}, {"outcome", outcome}});
    }
  }
  for (const char* result : {"hit", "miss", "evicted"}) blob_cache_.Add({{"result", result}});
  for (const char* source : {"cache", "coordinator"})
    blob_bytes_.Add({{"direction", "read"}, {"source", source}});
  blob_bytes_.Add({{"direction", "write"}, {"source", "coordinator"}});
}

void WorkerMetrics::CountTask(const std::string& kind, const std::string& outcome, double seconds,
                              int64_t peak_memory_bytes) {
  run_seconds_.Add({{"kind", kind}}, TaskTimeBuckets()).Observe(seconds);
  tasks_.Add({{"kind", kind}, {"outcome", outcome}}).Increment();
  memory_.Add({{"device", device_}, {"kind", "peak"}}).Set(static_cast<double>(peak_memory_bytes));
}

void WorkerMetrics::CountNack(const std::string& kind) {
  tasks_.Add({{"kind", kind}, {"outcome", "not_taken"}}).Increment();
}

void WorkerMetrics::CountStale(const std::string& kind) {
  tasks_.Add({{"kind", kind}, {"outcome", "stale"}}).Increment();
}

void WorkerMetrics::CountBlobBytes(const std::string& direction, const std::string& source, int64_t bytes) {
  blob_bytes_.Add({{"direction", direction}, {"source", source}}).Increment(static_cast<double>(bytes));
}

void WorkerMetrics::CountBlobCache(const std::string& result) {
  blob_cache_.Add({{"result", result}}).Increment();
}

std::string WorkerMetrics::Render() {
  const auto resident = static_cast<double>(ResidentMemoryBytes());
  memory_.Add({{"device", device_}, {"kind", "used"}}).Set(resident);
  process_memory_.Set(resident);
  process_cpu_.Increment(ProcessCpuSeconds() - process_cpu_.Value());
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace quantmoe
