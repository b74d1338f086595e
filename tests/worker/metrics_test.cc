#include "worker/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

TEST(WorkerMetricsTest, ShowTasksMemoryAndTheBuild) {
  WorkerMetrics metrics("1.2.3", "cpu", 4096);
  metrics.CountTask("solve", "ok", 0.5, 1024);
  const std::string text = metrics.Render();
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_worker_tasks_total{kind=\"solve\",outcome=\"ok\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_device_memory_bytes{device=\"cpu\",kind=\"total\"} 4096"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_task_run_seconds_bucket{kind=\"solve\",le=\"0.5\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("quantmoe_build_info{component=\"worker\",version=\"1.2.3\"} 1"));
  EXPECT_THAT(text, testing::HasSubstr("process_cpu_seconds_total"));
}

}  // namespace
}  // namespace quantmoe
