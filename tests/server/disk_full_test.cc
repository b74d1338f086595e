// A full disk of the data directory: nothing ends for it, and what frees room works.
#include <httplib.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "server/loop/disk_reserve.h"
#include "storage/durable_file.h"
#include "tests/server/fake_worker.h"
#include "tests/server/limited_disk.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;

constexpr int64_t kPlenty = int64_t{1} << 40;

// Root may write everywhere: while it lives, the process acts as a user who may not.
class AsOrdinaryUser {
 public:
  AsOrdinaryUser() { EXPECT_TRUE(!root_ || seteuid(kNobody) == 0); }
  ~AsOrdinaryUser() { EXPECT_TRUE(!root_ || seteuid(0) == 0); }

 private:
  static constexpr uid_t kNobody = 65534;
  const bool root_ = geteuid() == 0;
};

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
  EXPECT_FALSE(reserve.unusable());
  free_ = 0;
  EXPECT_TRUE(reserve.GiveUp());
  EXPECT_TRUE(reserve.unusable());
  EXPECT_EQ(FileBytes(), (1 << 20) - (64 << 10));
  reserve.Refresh();
  EXPECT_TRUE(reserve.unusable());
  while (reserve.GiveUp()) {
  }
  EXPECT_EQ(FileBytes(), 0);
  free_ = 3 << 20;
  reserve.Refresh();
  EXPECT_FALSE(reserve.unusable());
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
  EXPECT_TRUE(reserve.unusable());
  free_ = 4 << 20;
  reserve.Refresh();
  EXPECT_OK(reserve.CheckRoom());
  EXPECT_EQ(reserve.Explain(), "");
}

TEST_F(DiskReserveTest, WithoutAFileAFailedWriteStillStopsWhatGrows) {
  DiskReserve reserve = Make(0);
  reserve.Refresh();
  EXPECT_FALSE(reserve.GiveUp());
  EXPECT_TRUE(reserve.unusable());
  reserve.Refresh();
  EXPECT_FALSE(reserve.unusable());
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

TEST_F(DiskReserveTest, ADirectoryThatCannotBeWrittenToIsNamed) {
  std::string closed = dir_ / "artifacts";
  DiskReserve reserve({dir_.path(), 1 << 20, [](const std::string&) { return kPlenty; },
                       [&](const std::string& dir) { return dir == closed ? EROFS : 0; }});
  EXPECT_FALSE(reserve.unusable());
  reserve.NoteFailure(ErrnoError(EROFS, "cannot write"));
  EXPECT_TRUE(reserve.unusable());
  EXPECT_THAT(reserve.CheckRoom(),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("DISK_READ_ONLY")));
  EXPECT_THAT(reserve.Explain(),
              testing::AllOf(HasSubstr("cannot write to " + closed), HasSubstr("Read-only file system")));
  reserve.Refresh();
  EXPECT_EQ(FileBytes(), 0);
  closed.clear();
  reserve.Refresh();
  EXPECT_EQ(reserve.Explain(), "");
  EXPECT_EQ(FileBytes(), 1 << 20);
}

TEST_F(DiskReserveTest, AFailureIsNotedWithoutALookAtTheDisk) {
  int looks = 0;
  DiskReserve reserve({dir_.path(), 1 << 20,
                       [&](const std::string&) {
                         ++looks;
                         return kPlenty;
                       },
                       [&](const std::string&) {
                         ++looks;
                         return 0;
                       }});
  reserve.NoteFailure(ErrnoError(EROFS, "cannot write"));
  EXPECT_THAT(reserve.status(), HasReason("DISK_READ_ONLY"));
  EXPECT_THAT(reserve.Explain(), HasSubstr(dir_.path()));
  reserve.NoteFailure(ErrnoError(ENOSPC, "cannot write"));
  EXPECT_EQ(looks, 0);
  EXPECT_OK(reserve.CheckRoom()) << "which looks, and finds both well";
  EXPECT_GT(looks, 0);
}

TEST_F(DiskReserveTest, AMissingFolderIsNoTroubleAndAClosedOneIs) {
  DiskReserve reserve = Make(0);
  reserve.Refresh();
  EXPECT_FALSE(reserve.unusable());
  std::filesystem::create_directory(dir_ / "artifacts");
  std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(dir_ / "artifacts", std::filesystem::perms(0555));
  const AsOrdinaryUser user;
  reserve.Refresh();
  EXPECT_TRUE(reserve.unusable());
  EXPECT_THAT(reserve.Explain(), HasSubstr("(Permission denied)"));
}

class FullDiskServerTest : public testing::Test {
 protected:
  CoordinatorOptions Options() {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.free_bytes = [this](const std::string&) { return free_.load(); };
    options.write_error = [this](const std::string&) { return write_error_.load(); };
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
  std::atomic<int> write_error_{0};
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
  for (int i = 0; i < 8; ++i) {
    worker.Fail(worker.AwaitAssign(), MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room",
                                                {{"place", "coordinator"}}));
    worker.SetCredits(1);
    clock.Advance(absl::Seconds(2));  // the disk is looked at again
  }
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST_F(FullDiskServerTest, AReadOnlyDiskHoldsJobsUpAndCostsNoAttempt) {
  const std::string name = server_.CreateTinyJob();
  FakeWorker worker(server_.coordinator().worker_address());
  const v1::Assign prepare = worker.AwaitAssign();
  write_error_ = EROFS;
  worker.Fail(prepare, MakeError(absl::StatusCode::kUnavailable, "DISK_READ_ONLY",
                                 "cannot write: Read-only file system", {{"place", "coordinator"}}));
  AwaitReady("the coordinator cannot write to " + server_.data_dir());
  const v1::Job waiting = server_.AwaitJob(name, [](const v1::Job& job) {
    return absl::StrContains(job.state_reason(), "(Read-only file system): tasks go on once it can");
  });
  EXPECT_EQ(waiting.waiting().cause(), v1::Waiting::NO_SPACE);
  v1::Job refused;
  EXPECT_THAT(
      FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &refused)),
      testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("DISK_READ_ONLY")));
  worker.SetCredits(1);
  write_error_ = 0;
  worker.RunToEnd();
  EXPECT_EQ(server_.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
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

TEST(FullDiskProcessTest, EndsInTimeOnSigtermAndGoesOnOnceThereIsRoom) {
  const TemporaryDirectory dir;
  const auto jobs_of = [](const ServerProcess& server) {
    return v1::JobService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  };
  v1::Job job;
  v1::Assign prepare;
  {
    ServerProcess server(dir / "data", ServerProcess::Options{});
    ASSERT_TRUE(server.listens());
    const auto jobs = jobs_of(server);
    ASSERT_TRUE(jobs->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &job).ok());
    FakeWorker worker(server.worker_address());
    prepare = worker.AwaitAssign();
    server.LimitFileSizes(0);
    v1::Job refused;
    EXPECT_THAT(FromGrpcStatus(jobs->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &refused)),
                testing::AnyOf(HasReason("STORE_UNAVAILABLE"), HasReason("DISK_FULL")));
    const absl::Duration start = Clock::Real().Monotonic();
    EXPECT_EQ(server.Stop(), 0);
    EXPECT_LT(Clock::Real().Monotonic() - start, absl::Seconds(10));
  }
  ServerProcess server(dir / "data", ServerProcess::Options{});
  ASSERT_TRUE(server.listens());
  const auto jobs = jobs_of(server);
  FakeWorker worker(server.worker_address(), {.credits = 0, .held = {AttemptOf(prepare)}});
  worker.Finish(prepare);
  worker.SetCredits(1);
  worker.RunToEnd();
  v1::WatchJobRequest watched;
  watched.set_name(job.name());
  const auto context = WithDeadline(absl::Seconds(60));
  const auto watch = jobs->WatchJob(context.get(), watched);
  v1::JobEvent event;
  while (watch->Read(&event)) {
  }
  v1::GetJobRequest request;
  request.set_name(job.name());
  v1::Job after;
  ASSERT_TRUE(jobs->GetJob(WithDeadline().get(), request, &after).ok());
  EXPECT_EQ(after.state(), v1::Job::SUCCEEDED) << after.state_reason();
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
