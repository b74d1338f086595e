// What every state store must keep, run on each engine.
#include "server/state_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "server/sqlite_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class StateStoreTest : public testing::Test {
 protected:
  StateStoreTest() { Reopen(); }
  void Reopen() {
    store_.reset();
    auto opened = SqliteStore::Open(dir_.path(), absl::UnixEpoch());
    ASSERT_OK(opened);
    store_ = *std::move(opened);
  }
  static server::JobRecord Record(const std::string& id, int64_t number) {
    server::JobRecord record;
    record.set_id(id);
    record.set_create_number(number);
    return record;
  }
  static PutTask NewTask(const std::string& job, int index) {
    PutTask put{.job = job, .index = index};
    put.definition.emplace().set_label("t" + std::to_string(index));
    return put;
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<StateStore> store_;
};

TEST_F(StateStoreTest, RemembersJobsAndTasksInOrder) {
  ASSERT_OK(
      store_->Commit({PutJob{Record("b", 1)}, PutJob{Record("a", 2)}, NewTask("a", 0), NewTask("a", 1)}));
  PutTask update{.job = "a", .index = 1};
  update.record.set_token("token");
  ASSERT_OK(store_->Commit({update}));
  Reopen();
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  ASSERT_THAT(jobs, SizeIs(2));
  EXPECT_EQ(jobs[0].record.id(), "b");
  ASSERT_THAT(jobs[1].tasks, SizeIs(2));
  EXPECT_EQ(jobs[1].tasks[1].first.label(), "t1");
  EXPECT_EQ(jobs[1].tasks[1].second.token(), "token");
}

TEST_F(StateStoreTest, AFailedBatchLeavesNothing) {
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}}));
  EXPECT_FALSE(
      store_->Commit({PutJob{Record("b", 2)}, AppendEvent{"b", 1, "x"}, AppendEvent{"b", 1, "x"}}).ok());
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  EXPECT_THAT(jobs, SizeIs(1));
}

TEST_F(StateStoreTest, ARequestIdBelongsToOneJob) {
  server::JobRecord first = Record("a", 1);
  first.set_request_id("r");
  ASSERT_OK(store_->Commit({PutJob{first}}));
  ASSERT_OK(store_->Commit({PutJob{first}}));
  server::JobRecord second = Record("b", 2);
  second.set_request_id("r");
  EXPECT_THAT(store_->Commit({PutJob{second}}), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK(store_->Commit({DeleteJobRows{"a"}}));
  EXPECT_OK(store_->Commit({PutJob{second}}));
}

TEST_F(StateStoreTest, EventsAreReadInPages) {
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}, AppendEvent{"a", 1, "x"}, AppendEvent{"a", 2, "y"},
                            AppendEvent{"a", 3, "z"}}));
  ASSERT_OK_AND_ASSIGN(const auto page, store_->ReadEvents("a", 1, 1));
  ASSERT_THAT(page, SizeIs(1));
  EXPECT_EQ(page[0].seq, 2);
  EXPECT_EQ(page[0].payload, "y");
}

TEST_F(StateStoreTest, DeletingAJobDeletesItsRows) {
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}, NewTask("a", 0), AppendEvent{"a", 1, "x"}}));
  ASSERT_OK(store_->Commit({DeleteJobRows{"a"}}));
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  EXPECT_THAT(jobs, IsEmpty());
  ASSERT_OK_AND_ASSIGN(const auto events, store_->ReadEvents("a", 0, 10));
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(StateStoreTest, CachedResultsComeAndGo) {
  v1::TaskBlob blob;
  blob.set_role("table");
  ASSERT_OK(store_->Commit({PutCachedResult{"k", {blob}, absl::FromUnixSeconds(5)}}));
  ASSERT_OK_AND_ASSIGN(const auto found, store_->FindCachedResult("k"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->outputs[0].role(), "table");
  ASSERT_OK(store_->Commit({TouchCachedResult{"k", absl::FromUnixSeconds(9)}}));
  std::vector<absl::Time> used;
  ASSERT_OK(
      store_->VisitCachedResults([&](const CachedResult& result) { used.push_back(result.last_used); }));
  EXPECT_THAT(used, ElementsAre(absl::FromUnixSeconds(9)));
  ASSERT_OK(store_->Commit({DeleteCachedResult{"k"}}));
  ASSERT_OK_AND_ASSIGN(const auto gone, store_->FindCachedResult("k"));
  EXPECT_FALSE(gone.has_value());
}

TEST_F(StateStoreTest, EveryOpeningTakesTheNextTerm) {
  const int64_t term = store_->term();
  Reopen();
  EXPECT_EQ(store_->term(), term + 1);
}

TEST_F(StateStoreTest, ASecondCoordinatorIsRefused) {
  EXPECT_THAT(SqliteStore::Open(dir_.path(), absl::UnixEpoch()), HasReason("DATA_DIR_IN_USE"));
}

// Runs SQL behind the store's back.
void Tamper(const std::string& dir, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir + "/state.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
}

TEST_F(StateStoreTest, WritesOfAnOldTermAreFenced) {
  Tamper(dir_.path(), "UPDATE leader SET term = term + 1");
  EXPECT_THAT(store_->Commit({PutJob{Record("a", 1)}}), HasReason("STALE_TERM"));
}

TEST_F(StateStoreTest, ANewerSchemaIsRefused) {
  store_.reset();
  Tamper(dir_.path(), "INSERT INTO schema_migration VALUES(1000, 'x', 0)");
  EXPECT_THAT(SqliteStore::Open(dir_.path(), absl::UnixEpoch()), HasReason("STORE_SCHEMA_UNKNOWN"));
}

TEST_F(StateStoreTest, AnEditedSchemaStepIsRefused) {
  store_.reset();
  Tamper(dir_.path(), "UPDATE schema_migration SET checksum = 'x' WHERE version = 1");
  EXPECT_THAT(SqliteStore::Open(dir_.path(), absl::UnixEpoch()), HasReason("STORE_SCHEMA_UNKNOWN"));
}

}  // namespace
}  // namespace quantmoe
