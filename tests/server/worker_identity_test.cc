// Who may be connected as a worker of some id: one process at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(WorkerIdentityTest, ASecondProcessOfTheSameIdIsRefused) {
  RunningServer server;
  FakeWorker first(server.coordinator().worker_address(), {.id = "w", .instance = "1"});
  FakeWorker second(server.coordinator().worker_address(), {.id = "w", .instance = "2"});
  const absl::Status refusal = FromGrpcStatus(second.AwaitEnd());
  EXPECT_THAT(refusal, HasReason("WORKER_ID_IN_USE"));
  EXPECT_THAT(std::string(refusal.message()), testing::HasSubstr("give each one its own --worker-id"));
  server.CreateTinyJob();
  first.Finish(first.AwaitAssign());
}

TEST(WorkerIdentityTest, TheSameProcessReplacesItsOlderSession) {
  RunningServer server;
  FakeWorker older(server.coordinator().worker_address(), {.id = "w", .instance = "1"});
  FakeWorker newer(server.coordinator().worker_address(), {.id = "w", .instance = "1"});
  EXPECT_THAT(FromGrpcStatus(older.AwaitEnd()), HasReason("SESSION_REPLACED"));
  server.CreateTinyJob();
  newer.Finish(newer.AwaitAssign());
}

TEST(WorkerIdentityTest, ASuccessorIsWelcomeOnceTheStreamIsGone) {
  RunningServer server;
  {
    FakeWorker first(server.coordinator().worker_address(), {.id = "w", .instance = "1"});
    v1::WorkerMessage goodbye;
    goodbye.mutable_goodbye();
    first.Write(goodbye);
    EXPECT_TRUE(first.AwaitEnd().ok());
  }
  FakeWorker successor(server.coordinator().worker_address(), {.id = "w", .instance = "2"});
  EXPECT_FALSE(successor.welcome().session_id().empty());
}

}  // namespace
}  // namespace quantmoe
