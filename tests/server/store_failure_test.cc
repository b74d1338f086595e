// A state store that refuses a commit, and one that another coordinator has taken over.
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "quantmoe/v1/jobs.grpc.pb.h"
#include "server/loop/commit_loop.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/server/store_intruder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

TEST(StoreFailureTest, AWorkerKeepsItsCreditsWhenAnAssignmentIsNotCommitted) {
  RunningServer server;
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address(), {.credits = 0});
  StoreIntruder intruder(server.data_dir());
  intruder.Run("ALTER TABLE event RENAME TO hidden");
  // The task is assigned in a batch that cannot be committed, so that nothing is sent. The credit is the only
  // one.
  const int errors = StoreErrors(server);
  worker.SetCredits(1);
  AwaitStoreErrors(server, errors);
  intruder.Run("ALTER TABLE hidden RENAME TO event");
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
}

TEST(StoreFailureTest, AWorkerThatComesMeanwhileIsSentAway) {
  RunningServer server;
  server.CreateTinyJob();
  StoreIntruder intruder(server.data_dir());
  intruder.Run("CREATE TRIGGER refuse BEFORE UPDATE ON job BEGIN SELECT RAISE(ABORT, 'refused'); END");
  {
    FakeWorker refused(server.coordinator().worker_address(), {.credits = 1});
    EXPECT_EQ(refused.AwaitEnd().error_code(), grpc::StatusCode::UNAVAILABLE) << "it is not left waiting";
  }
  intruder.Run("DROP TRIGGER refuse");
  FakeWorker worker(server.coordinator().worker_address(), {.id = "again"});
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
}

TEST(StoreFailureTest, ADeposedCoordinatorEnds) {
  const TemporaryDirectory dir;
  ServerProcess server(dir / "data", /*crash_at=*/"");
  ASSERT_TRUE(server.listens());
  StoreIntruder(dir / "data").Run("UPDATE leader SET term = term + 1");
  const auto stub =
      v1::JobService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  v1::Job job;
  EXPECT_FALSE(stub->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &job).ok());
  EXPECT_EQ(server.AwaitExit(), kExitDeposed);
}

}  // namespace
}  // namespace quantmoe
