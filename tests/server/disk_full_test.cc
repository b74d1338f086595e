// A full disk of the data directory: nothing ends for it, and what frees room works.
#include <httplib.h>

#include <atomic>
#include <filesystem>

#include "absl/strings/match.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "server/loop/disk_reserve.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;

constexpr int64_t kPlenty = int64_t{1} << 40;

class DiskReserveTest : public testing::Test {
 protected:
  DiskReserve Make(int64_t bytes) {
    return DiskReserve({dir_.path(), bytes, [this](const std::string&) { return free_; }});
  }
  int64_t FileBytes() const {
    std::error_code none;
    const auto size = std::filesystem::file_size(dir_ / "reserve", none);
    return none ? 0 : static_cast<int64_t>(size);
  }

  const TemporaryDirectory dir_;
  int64_t free_ = kPlenty;
};

TEST_F(DiskReserveTest, IsGivenUpInPartsAndRebuiltWhenThereIsRoom) {
  DiskReserve reserve = Make(1 << 20);
  EXPECT_EQ(FileBytes(), 0) << "the directory may be another coordinator's";
  reserve.Refresh();
  EXPECT_EQ(FileBytes(), 1 << 20);
  EXPECT_FALSE(reserve.full());
  free_ = 0;
  EXPECT_TRUE(reserve.GiveUp());
  EXPECT_TRUE(reserve.full());
  EXPECT_EQ(FileBytes(), (1 << 20) - (64 << 10));
  reserve.Refresh();
  EXPECT_TRUE(reserve.full());
  while (reserve.GiveUp()) {
  }
  EXPECT_EQ(FileBytes(), 0);
  free_ = 3 << 20;
  reserve.Refresh();
  EXPECT_FALSE(reserve.full());
  EXPECT_EQ(FileBytes(), 1 << 20);
}

TEST_F(DiskReserveTest, TheDiskCountsAsFullBeforeTheLastByte) {
  DiskReserve reserve = Make(4 << 20);
  reserve.Refresh();
  free_ = 1 << 20;
  reserve.Refresh();
  EXPECT_THAT(reserve.CheckRoom(), HasReason("DISK_FULL"));
  EXPECT_THAT(reserve.Explain(), HasSubstr("8192 KiB are free"));
  free_ = 3 << 20;  // not enough to begin again
  reserve.Refresh();
  EXPECT_TRUE(reserve.full());
  free_ = 4 << 20;
  reserve.Refresh();
  EXPECT_OK(reserve.CheckRoom());
  EXPECT_EQ(reserve.Explain(), "");
}

TEST_F(DiskReserveTest, WithoutAFileAFailedWriteStillStopsWhatGrows) {
  DiskReserve reserve = Make(0);
  reserve.Refresh();
  EXPECT_FALSE(reserve.GiveUp());
  EXPECT_TRUE(reserve.full());
  reserve.Refresh();
  EXPECT_FALSE(reserve.full());
}

class FullDiskServerTest : public testing::Test {
 protected:
  CoordinatorOptions Options() {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.free_bytes = [this](const std::string&) { return free_.load(); };
    return options;
  }
  void AwaitReady(const std::string& text) {
    httplib::Client http("http://" + server_.coordinator().http_address());
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
      const auto page = http.Get("/readyz");
      if (page && page->status == 200 && absl::StrContains(page->body, text)) return;
    }
    FAIL() << "/readyz never said: " << text;
  }

  std::atomic<int64_t> free_{kPlenty};
  RunningServer server_{Options()};
};

TEST_F(FullDiskServerTest, JobsWaitAndSayWhyAndGoOnWhenThereIsRoom) {
  const std::string name = server_.CreateTinyJob();
  const std::string other = server_.CreateTinyJob();
  free_ = 0;
  AwaitReady("the disk of the coordinator is full");
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Job waiting = server_.AwaitJob(name, [](const v1::Job& job) {
    return absl::StrContains(job.state_reason(), "the disk of the coordinator is full");
  });
  EXPECT_EQ(waiting.state(), v1::Job::QUEUED);

  v1::Job refused;
  EXPECT_THAT(
      FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &refused)),
      testing::AllOf(StatusIs(absl::StatusCode::kResourceExhausted), HasReason("DISK_FULL")));
  v1::CancelJobRequest cancel;
  cancel.set_name(other);
  v1::Job cancelled;
  EXPECT_TRUE(server_.jobs().CancelJob(WithDeadline().get(), cancel, &cancelled).ok());
  v1::DeleteJobRequest remove;
  remove.set_name(other);
  v1::DeleteJobResponse removed;
  EXPECT_TRUE(server_.jobs().DeleteJob(WithDeadline().get(), remove, &removed).ok());

  free_ = kPlenty;
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST(FullDiskAttemptTest, AResultThatFoundNoRoomCostsNoAttempt) {
  FakeClock clock;
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  options.free_bytes = [](const std::string&) { return kPlenty; };
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  // More often than faults may be tried again.
  for (int i = 1; i <= 8; ++i) {
    worker.Fail(worker.AwaitAssign(), MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room",
                                                {{"place", "coordinator"}}));
    worker.SetCredits(1);
    clock.Advance(absl::Seconds(2));  // the disk is looked at again
    worker.Heartbeat({}, i);
  }
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST_F(FullDiskServerTest, StartsAndDeletesOnAFullDisk) {
  const std::string name = server_.CreateTinyJob();
  free_ = 0;
  AwaitReady("the disk of the coordinator is full");
  server_.Stop();
  server_.Start();
  v1::DeleteJobRequest remove;
  remove.set_name(name);
  remove.set_force(true);
  v1::DeleteJobResponse removed;
  EXPECT_TRUE(server_.jobs().DeleteJob(WithDeadline().get(), remove, &removed).ok());
}

}  // namespace
}  // namespace quantmoe
