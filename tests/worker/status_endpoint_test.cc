#include "worker/status_endpoint.h"

#include <httplib.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "worker/metrics.h"

namespace quantmoe {
namespace {

TEST(StatusEndpointTest, ServesMetricsAndReadiness) {
  WorkerMetrics metrics("1.2.3", "cpu", 4096);
  metrics.CountTask("solve", "ok", 0.5, 1024);
  std::atomic<bool> ready{false};
  ASSERT_OK_AND_ASSIGN(auto endpoint, StatusEndpoint::Start("127.0.0.1:0", {[&] { return metrics.Render(); },
                                                                            [&] { return ready.load(); }}));
  httplib::Client client("127.0.0.1", endpoint->port());
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get("/readyz")->status, 503);
  ready = true;
  EXPECT_EQ(client.Get("/readyz")->status, 200);
  const std::string text = client.Get("/metrics")->body;
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_worker_tasks_total{kind=\"solve\",outcome=\"ok\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_device_memory_bytes{device=\"cpu\",kind=\"total\"} 4096"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_task_run_seconds_bucket{kind=\"solve\",le=\"0.5\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_build_info{component=\"worker\",version=\"1.2.3\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("process_cpu_seconds_total"));
}

TEST(StatusEndpointTest, RefusesABadOrTakenAddress) {
  EXPECT_THAT(StatusEndpoint::Start("nonsense", {}), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(auto first, StatusEndpoint::Start("127.0.0.1:0", {}));
  EXPECT_THAT(StatusEndpoint::Start(absl::StrCat("127.0.0.1:", first->port()), {}),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace quantmoe
