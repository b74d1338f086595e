// What the worker counts, in one registry for /metrics. Series that are hot are kept as references; the rest
// is looked up. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace quantmoe {

class WorkerMetrics {
 public:
  // `memory_bytes` is what tasks may use; it becomes device_memory_bytes{kind="total"}.
  WorkerMetrics(const std::string& version, const std::string& device, int64_t memory_bytes);

  // An attempt ended. `outcome` is "ok" or the name of a failure class, in lower case.
  void CountTask(const std::string& kind, const std::string& outcome, double seconds,
                 int64_t peak_memory_bytes);
  // An attempt was not taken.
  void CountNack(const std::string& kind);
  // The coordinator answered that another attempt holds the task.
  void CountStale(const std::string& kind);
  void SetBusy(bool busy) { busy_.Set(busy ? 1 : 0); }

  // `direction` is "read" or "write"; `source` is "cache" or "coordinator".
  void CountBlobBytes(const std::string& direction, const std::string& source, int64_t bytes);
  // `result` is "hit", "miss" or "evicted".
  void CountBlobCache(const std::string& result);

  void ObserveHeartbeat(double round_trip_seconds) { heartbeat_rtt_.Observe(round_trip_seconds); }
  void CountReconnect() { reconnects_.Increment(); }

  // Prometheus text format, with process figures read now. Every series exists from the start.
  std::string Render();

 private:
  void ShowAtZero();

  prometheus::Registry registry_;
  const std::string device_;
  prometheus::Family<prometheus::Histogram>& run_seconds_;
  prometheus::Family<prometheus::Counter>& tasks_;
  prometheus::Family<prometheus::Counter>& blob_bytes_;
  prometheus::Family<prometheus::Counter>& blob_cache_;
  prometheus::Family<prometheus::Gauge>& memory_;
  prometheus::Histogram& heartbeat_rtt_;
  prometheus::Counter& reconnects_;
  prometheus::Gauge& busy_;
  prometheus::Counter& process_cpu_;
  prometheus::Gauge& process_memory_;
};

}  // namespace quantmoe
