// A full disk of the data directory: nothing ends for it, and what frees room works.
#include <httplib.h>

#include <atomic>
#include <filesystem>

#include "absl/strings/match.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "server/loop/disk_reserve.h"
#include "tests/server/fake_worker.h"
#include "tests/server/limited_disk.h"
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

TEST_F(DiskReserveTest, WhileTheDiskIsFullTheSentenceStaysTheSame) {
  DiskReserve reserve = Make(1 << 20);
  reserve.Refresh();
  free_ = 0;
  EXPECT_TRUE(reserve.GiveUp());
  const std::string sentence = reserve.Explain();
  for (const int64_t free : {0, 4096, 1 << 20, 100, 0}) {
    free_ = free;
    reserve.Refresh();
    EXPECT_EQ(reserve.Explain(), sentence) << free;
    (void)reserve.GiveUp();
    EXPECT_EQ(reserve.Explain(), sentence) << free;
    EXPECT_EQ(reserve.CheckRoom().message(), sentence) << free;
  }
}

TEST_F(DiskReserveTest, WhoeverHasMadeRoomIsNotRefused) {
  DiskReserve reserve = Make(1 << 20);
  reserve.Refresh();
  free_ = 0;
  EXPECT_TRUE(reserve.GiveUp());
  EXPECT_THAT(reserve.CheckRoom(), HasReason("DISK_FULL"));
  free_ = kPlenty;
  EXPECT_OK(reserve.CheckRoom()) << "before anybody looked at the disk";
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

TEST_F(FullDiskServerTest, StopsInTimeWhileJobsWaitAndAreWatched) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign prepare = worker.AwaitAssign();
  free_ = 0;
  AwaitReady("the disk of the coordinator is full");
  const auto context = WithDeadline(absl::Seconds(60));
  v1::WatchJobRequest watched;
  watched.set_name(name);
  const auto watch = server_.jobs().WatchJob(context.get(), watched);
  v1::JobEvent event;
  ASSERT_TRUE(watch->Read(&event));
  // An upload that is under way and gets no further.
  const auto upload_context = WithDeadline(absl::Seconds(60));
  v1::UploadBlobResponse response;
  const auto upload = server_.blobs().UploadBlob(upload_context.get(), &response);
  v1::UploadBlobRequest first;
  first.mutable_digest()->set_sha256(std::string(64, 'a'));
  first.mutable_digest()->set_size_bytes(1 << 20);
  first.mutable_chunk()->set_data("begun");
  ASSERT_TRUE(upload->Write(first));

  const absl::Duration start = Clock::Real().Monotonic();
  server_.Stop();
  EXPECT_LT(Clock::Real().Monotonic() - start, absl::Seconds(10));
  while (watch->Read(&event)) {
  }
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Here the database itself finds no room, so that nothing can be committed on the way out.
TEST(FullStoreTest, StopsInTimeWhenNothingCanBeCommitted) {
  LimitedDisk disk;
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.disk_reserve_bytes = 0;
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign prepare = worker.AwaitAssign();
  disk.FreeBytes(0);
  v1::Job refused;
  // What the log of the database has room for is still taken.
  grpc::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i)
    status = server.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &refused);
  EXPECT_FALSE(status.ok());
  const absl::Duration start = Clock::Real().Monotonic();
  server.Stop();
  EXPECT_LT(Clock::Real().Monotonic() - start, absl::Seconds(10));
  disk.FreeBytes(int64_t{1} << 30);
  server.Start();
  EXPECT_EQ(server.GetJob(name).state(), v1::Job::RUNNING);
  server.Stop();  // its files must close before the disk goes
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
