// The wall clock steps while the coordinator runs. libfaketime steps it for that process alone.
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "quantmoe/v1/system.grpc.pb.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

constexpr char kFakeTime[] = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

class WallClockTest : public testing::TestWithParam<const char*> {};

TEST_P(WallClockTest, AStepOfItKeepsNoLeaseAlive) {
  if (!std::filesystem::exists(kFakeTime)) GTEST_SKIP() << "needs the package faketime";
  const TemporaryDirectory dir;
  const std::string offset = dir.Write("offset", "+0\n");
  ServerProcess server(
      dir / "data",
      {.environment = {std::string("LD_PRELOAD=") + kFakeTime, "FAKETIME_TIMESTAMP_FILE=" + offset,
                       "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"},
       .lease_seconds = "1",
       .heartbeat_seconds = "0.2"});
  ASSERT_TRUE(server.listens());
  FakeWorker silent(server.worker_address());
  std::ofstream(offset, std::ios::trunc) << GetParam() << "\n";
  // The coordinator ends the session of a worker that is silent for a lease; the clock of this process is
  // right.
  EXPECT_EQ(silent.AwaitEnd().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(server.Stop(), 0) << "it ends when it is told to";
}

INSTANTIATE_TEST_SUITE_P(Steps, WallClockTest, testing::Values("-3600", "+3600"));

}  // namespace
}  // namespace quantmoe
