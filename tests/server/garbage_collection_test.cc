// Collections that something interrupts: a store that refuses a commit, a wall clock that is set back.
#include "server/garbage_collection.h"

#include <fcntl.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "storage/blob_store.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/store_intruder.h"
#include "tests/server/stored_blobs.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

// Its time is compared with that of files, which the machine's clock tells.
template <typename TestClock = FakeClock>
class CollectingServer {
 public:
  CollectingServer() : clock(absl::Now()), server(Options(clock)) {}

  // What a client has uploaded at this time by the coordinator's clock, and no job names.
  std::filesystem::path PutOrphan(const std::string& bytes, absl::Time written) {
    const auto store = LocalBlobStore::Open(server.data_dir() + "/blobs");
    const auto digest = store.ok() ? (*store)->Put(bytes) : store.status();
    EXPECT_OK(digest);
    const std::string path = (*store)->PathOf(digest.value());
    const timespec time = absl::ToTimespec(written);
    const std::array<timespec, 2> times = {time, time};
    EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times.data(), 0), 0);
    return path;
  }

  TestClock clock;
  RunningServer server;

 private:
  static CoordinatorOptions Options(const Clock& clock) {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.clock = &clock;
    options.blob_min_age = absl::Hours(1);
    options.garbage_interval = absl::Hours(1);
    return options;
  }
};

bool AwaitGone(const std::filesystem::path& path) {
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (std::filesystem::exists(path) && Clock::Real().Monotonic() < end) {
  }
  return !std::filesystem::exists(path);
}

// Runs a job to its end. A blob that only a remembered result names then: an input of the solves.
std::filesystem::path RunJob(RunningServer& server) {
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign solve = worker.RunUntil("solve-l0-p0");
  std::filesystem::path remembered;
  for (const v1::TaskBlob& input : solve.task().inputs()) {
    if (!input.role().starts_with("table")) remembered = PathOfBlob(server.data_dir(), input.digest());
  }
  worker.Finish(solve);
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(std::filesystem::exists(remembered));
  return remembered;
}

TEST(GarbageCollectionTest, OneWhoseCommitFailsLosesNothingAndALaterOneGoesOn) {
  CollectingServer test;
  RunningServer& server = test.server;
  const std::filesystem::path remembered = RunJob(server);
  const std::filesystem::path orphan = test.PutOrphan("of no job", test.clock.Now());
  StoreIntruder intruder(server.data_dir());
  const int results = intruder.Count("SELECT count(*) FROM task_cache");
  ASSERT_GT(results, 0);
  intruder.Run("CREATE TRIGGER refuse BEFORE DELETE ON task_cache BEGIN SELECT RAISE(ABORT, 'refused'); END");
  // Whatever the first one does after its commit has failed is done when the second one starts.
  for (int collection = 1; collection <= 2; ++collection) {
    const int errors = StoreErrors(server);
    test.clock.Advance(absl::Hours(2));
    AwaitStoreErrors(server, errors);
    EXPECT_EQ(intruder.Count("SELECT count(*) FROM task_cache"), results);
    EXPECT_TRUE(std::filesystem::exists(remembered)) << "a result that is still remembered needs it";
    EXPECT_TRUE(std::filesystem::exists(orphan)) << "blobs go after the commit";
  }
  intruder.Run("DROP TRIGGER refuse");
  test.clock.Advance(absl::Hours(2));
  EXPECT_TRUE(AwaitGone(orphan));
  EXPECT_TRUE(AwaitGone(remembered));
  EXPECT_EQ(intruder.Count("SELECT count(*) FROM task_cache"), 0);
}

// Until the coordinator has looked at the time again: its worker is silent for a lease.
void AwaitTicks(RunningServer& server, FakeClock& clock, absl::Duration step) {
  FakeWorker silent(server.coordinator().worker_address(), {.id = "silent"});
  clock.Advance(step);
  EXPECT_EQ(silent.AwaitEnd().error_code(), grpc::StatusCode::ABORTED);
}

TEST(GarbageCollectionTest, AWallClockThatIsSetBackStopsNoCollection) {
  CollectingServer test;
  AwaitTicks(test.server, test.clock, absl::Minutes(1));
  const std::filesystem::path before = test.PutOrphan("by the old clock", test.clock.Now());
  test.clock.SetWallClockBy(-absl::Minutes(90));
  const std::filesystem::path after = test.PutOrphan("by the new clock", test.clock.Now());
  AwaitTicks(test.server, test.clock, absl::Minutes(61));
  EXPECT_TRUE(std::filesystem::exists(after)) << "nobody knows yet how old anything is";
  test.clock.Advance(absl::Minutes(61));
  EXPECT_TRUE(AwaitGone(after));
  EXPECT_TRUE(std::filesystem::exists(before)) << "by the new clock it was written half an hour ago";
  test.clock.Advance(absl::Minutes(61));
  EXPECT_TRUE(AwaitGone(before));
}

// Is set back while the room of steps sweeps.
class ClockSetBackBySweep : public FakeClock {
 public:
  using FakeClock::FakeClock;
  absl::Time Now() const override {
    std::array<char, 16> thread = {};
    ::pthread_getname_np(::pthread_self(), thread.data(), thread.size());
    const bool in_room = std::strncmp(thread.data(), "steps", 5) == 0;
    if (in_room && armed_.exchange(false)) const_cast<ClockSetBackBySweep*>(this)->SetWallClockBy(-step_);
    return FakeClock::Now();
  }
  void SetBackBy(absl::Duration step) {
    step_ = step;
    armed_ = true;
  }
  bool was_set() const { return !armed_; }

 private:
  absl::Duration step_;
  mutable std::atomic<bool> armed_{false};
};

TEST(GarbageCollectionTest, AWallClockThatIsSetBackMeanwhileMakesNothingOld) {
  CollectingServer<ClockSetBackBySweep> test;
  const absl::Time start = test.clock.Now();
  const std::filesystem::path old = test.PutOrphan("old by every clock", start - absl::Hours(2));
  // Written when the clock had been set back, which the sweep is about to see.
  const std::filesystem::path young = test.PutOrphan("young by the new clock", start + absl::Minutes(30));
  test.clock.SetBackBy(absl::Minutes(90));
  test.clock.Advance(absl::Hours(2));
  EXPECT_TRUE(AwaitGone(old));
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (MetricOf(test.server, "quantmoe_cas_evicted_bytes_total") == 0 && Clock::Real().Monotonic() < end) {
  }
  EXPECT_TRUE(test.clock.was_set());
  EXPECT_TRUE(std::filesystem::exists(young)) << "the sweep has ended";
}

}  // namespace
}  // namespace quantmoe
