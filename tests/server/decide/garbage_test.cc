// The sweep of unused blobs, against a job that still needs its own.
#include <gtest/gtest.h>

#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_clock.h"

namespace quantmoe {
namespace {

bool IsStored(RunningServer& server, const v1::Digest& digest) {
  v1::FindMissingBlobsRequest request;
  *request.add_digests() = digest;
  v1::FindMissingBlobsResponse response;
  EXPECT_TRUE(server.blobs().FindMissingBlobs(WithDeadline().get(), request, &response).ok());
  return response.missing().empty();
}

TEST(GarbageTest, OrphansGoAndTheBlobsOfALiveJobStay) {
  FakeClock clock(absl::Now());  // compared with the files' times
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  options.blob_min_age = absl::Hours(1);
  options.garbage_interval = absl::Hours(1);
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  v1::Digest orphan;
  {
    FakeWorker worker(server.coordinator().worker_address(), {.id = "before"});
    worker.Fail(worker.RunUntil("allocate"), v1::FailTaskRequest::DRAINED);
    orphan = worker.Upload("of no job");
  }
  ASSERT_TRUE(IsStored(server, orphan));
  clock.Advance(absl::Hours(2));
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (IsStored(server, orphan) && absl::Now() < end) {
  }
  EXPECT_FALSE(IsStored(server, orphan));
  // It reads what the tasks before the sweep have written.
  FakeWorker worker(server.coordinator().worker_address(), {.id = "after"});
  EXPECT_LE(worker.RunToEnd(), 6);  // allocate, verdict, three evaluations, publish
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

// Until the coordinator has looked at the time again: its worker is silent for a lease.
void AwaitTicks(RunningServer& server, FakeClock& clock, absl::Duration step) {
  FakeWorker silent(server.coordinator().worker_address(), {.id = "silent"});
  clock.Advance(step);
  EXPECT_EQ(silent.AwaitEnd().error_code(), grpc::StatusCode::ABORTED);
}

TEST(GarbageTest, AWallClockThatIsSetForwardMakesNothingOld) {
  FakeClock clock(absl::Now());
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  options.blob_min_age = absl::Hours(24);
  options.garbage_interval = absl::Hours(1);
  RunningServer server(options);
  v1::Digest orphan;
  {
    FakeWorker worker(server.coordinator().worker_address(), {.id = "before"});
    orphan = worker.Upload("just written, of no job yet");
  }
  clock.SetWallClockBy(absl::Hours(48));
  AwaitTicks(server, clock, absl::Hours(1));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(IsStored(server, orphan));
  clock.Advance(absl::Hours(24));
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (IsStored(server, orphan) && absl::Now() < end) {
  }
  EXPECT_FALSE(IsStored(server, orphan)) << "ages are known again";
}

}  // namespace
}  // namespace quantmoe
