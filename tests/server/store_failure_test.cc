// A state store that refuses a commit, and one that another coordinator has taken over.
#include <httplib.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "quantmoe/v1/jobs.grpc.pb.h"
#include "server/loop/commit_loop.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/server_process.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

// Another connection to the coordinator's database.
class Intruder {
 public:
  explicit Intruder(const std::string& data_dir) {
    EXPECT_EQ(sqlite3_open((data_dir + "/state.db").c_str(), &db_), SQLITE_OK);
    sqlite3_busy_timeout(db_, /*ms=*/30'000);
  }
  ~Intruder() { sqlite3_close(db_); }
  void Run(const char* sql) {
    EXPECT_EQ(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql;
  }

 private:
  sqlite3* db_ = nullptr;
};

int StoreErrors(RunningServer& server) {
  const std::string address = server.coordinator().http_address();
  const auto metrics = httplib::Client("http://" + address).Get("/metrics");
  constexpr char kName[] = "\nquantmoe_store_errors_total ";
  const size_t at = metrics == nullptr ? std::string::npos : metrics->body.find(kName);
  return at == std::string::npos ? 0 : std::stoi(metrics->body.substr(at + sizeof kName - 1));
}

void AwaitStoreError(RunningServer& server) {
  const int before = StoreErrors(server);
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (StoreErrors(server) == before && Clock::Real().Monotonic() < end) {
  }
  EXPECT_GT(StoreErrors(server), before);
}

TEST(StoreFailureTest, AWorkerKeepsItsCreditsWhenAnAssignmentIsNotCommitted) {
  RunningServer server;
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address(), {.credits = 0});
  Intruder intruder(server.data_dir());
  intruder.Run("ALTER TABLE event RENAME TO hidden");
  // The task is assigned in a batch that cannot be committed, so that nothing is sent. The credit is the only
  // one.
  worker.SetCredits(1);
  AwaitStoreError(server);
  intruder.Run("ALTER TABLE hidden RENAME TO event");
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
}

TEST(StoreFailureTest, AWorkerThatComesMeanwhileIsSentAway) {
  RunningServer server;
  server.CreateTinyJob();
  Intruder intruder(server.data_dir());
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
  Intruder(dir / "data").Run("UPDATE leader SET term = term + 1");
  const auto stub =
      v1::JobService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  v1::Job job;
  EXPECT_FALSE(stub->CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &job).ok());
  EXPECT_EQ(server.AwaitExit(), kExitDeposed);
}

}  // namespace
}  // namespace quantmoe
