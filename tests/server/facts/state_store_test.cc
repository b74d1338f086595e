// What every state store must keep, run on each engine.
#include "server/facts/state_store.h"

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "server/facts/sqlite_store.h"
#include "tests/server/limited_disk.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::Field;
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
    record.set_state(v1::Job::RUNNING);
    return record;
  }
  static PutTask NewTask(const std::string& job, int index) {
    PutTask put{.job = job, .index = index};
    put.definition.emplace().set_label("t" + std::to_string(index));
    put.definition->set_kind("solve");
    put.record.set_state(v1::Task::READY);
    return put;
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<StateStore> store_;
};

TEST_F(StateStoreTest, RemembersJobsAndTasksInOrder) {
  ASSERT_OK(
      store_->Commit({PutJob{Record("b", 1)}, PutJob{Record("a", 2)}, NewTask("a", 0), NewTask("a", 1)}));
  PutTask update{.job = "a", .index = 1};
  update.record.set_state(v1::Task::RUNNING);
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
  ASSERT_OK_AND_ASSIGN(const auto found, store_->FindCachedResults({"unknown", "k"}));
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].key, "k");
  EXPECT_EQ(found[0].outputs[0].role(), "table");
  ASSERT_OK(store_->Commit({TouchCachedResult{"k", absl::FromUnixSeconds(9)}}));
  std::vector<absl::Time> used;
  std::vector<std::string> unreadable;
  ASSERT_OK(store_->VisitCachedResults([&](const CachedResult& result) { used.push_back(result.last_used); },
                                       unreadable));
  EXPECT_THAT(used, ElementsAre(absl::FromUnixSeconds(9)));
  ASSERT_OK(store_->Commit({DeleteCachedResult{"k"}}));
  ASSERT_OK_AND_ASSIGN(const auto gone, store_->FindCachedResults({"k"}));
  EXPECT_THAT(gone, IsEmpty());
}

TEST_F(StateStoreTest, ACachedResultThatWasUsedSinceIsNotForgotten) {
  const absl::Time marked = absl::FromUnixSeconds(5);
  ASSERT_OK(store_->Commit({PutCachedResult{"old", {}, marked}, PutCachedResult{"used", {}, marked},
                            TouchCachedResult{"used", absl::FromUnixSeconds(6)}}));
  ASSERT_OK(store_->Commit({DeleteCachedResult{"old", marked}, DeleteCachedResult{"used", marked}}));
  ASSERT_OK_AND_ASSIGN(const auto kept, store_->FindCachedResults({"old", "used"}));
  EXPECT_THAT(kept, ElementsAre(Field(&CachedResult::key, "used")));
}

TEST_F(StateStoreTest, ManyCachedResultsAreVisitedInTurnsWithOtherReaders) {
  constexpr int kResults = 2500;
  std::vector<Change> changes;
  for (int i = 0; i < kResults; ++i) changes.emplace_back(PutCachedResult{absl::StrCat("k", i), {}, {}});
  ASSERT_OK(store_->Commit(changes));
  std::set<std::string> seen;
  std::vector<std::string> unreadable;
  ASSERT_OK(store_->VisitCachedResults(
      [&](const CachedResult& result) {
        seen.insert(result.key);
        EXPECT_OK(store_->FindCachedResults({result.key})) << "another reader waits for the whole visit";
      },
      unreadable));
  EXPECT_THAT(seen, SizeIs(kResults));
  EXPECT_THAT(unreadable, IsEmpty());
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

// ---- Damage

TEST_F(StateStoreTest, AnUnreadableRecordCostsItsJobOnly) {
  ASSERT_OK(store_->Commit(
      {PutJob{Record("bad", 1)}, NewTask("bad", 0), PutJob{Record("good", 2)}, NewTask("good", 0)}));
  for (const char* damage : {"x'ff'", "x''", "(SELECT record FROM job WHERE id = 'good')"}) {
    store_.reset();
    Tamper(dir_.path(), ("UPDATE job SET record = " + std::string(damage) + " WHERE id = 'bad'").c_str());
    Reopen();
    ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
    ASSERT_THAT(jobs, SizeIs(2)) << damage;
    EXPECT_THAT(jobs[0].unreadable, HasReason("RECORD_UNREADABLE"));
    EXPECT_EQ(jobs[0].record.id(), "bad");
    EXPECT_EQ(jobs[0].record.state(), v1::Job::FAILED);
    EXPECT_THAT(jobs[0].tasks, IsEmpty());
    EXPECT_OK(jobs[1].unreadable);
    EXPECT_THAT(jobs[1].tasks, SizeIs(1));
  }
}

TEST_F(StateStoreTest, AnUnreadableTaskEndsARunningJobAndLeavesAFinishedOne) {
  server::JobRecord finished = Record("finished", 1);
  finished.set_state(v1::Job::SUCCEEDED);
  ASSERT_OK(store_->Commit(
      {PutJob{finished}, NewTask("finished", 0), PutJob{Record("running", 2)}, NewTask("running", 0)}));
  // A truncated message, text that is no UTF-8, a state and a kind that do not exist.
  for (const char* damage : {"definition = x'0a05'", "definition = x'0a02c328'", "record = x'0863'",
                             "definition = x'0a027430120178'"}) {
    store_.reset();
    Tamper(dir_.path(), ("UPDATE task SET " + std::string(damage)).c_str());
    Reopen();
    ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
    ASSERT_THAT(jobs, SizeIs(2)) << damage;
    EXPECT_EQ(jobs[0].record.state(), v1::Job::SUCCEEDED) << damage;
    EXPECT_EQ(jobs[1].record.state(), v1::Job::FAILED) << damage;
    EXPECT_THAT(jobs[1].unreadable, HasReason("RECORD_UNREADABLE"));
  }
}

TEST_F(StateStoreTest, RowsWithoutAJobAreSetAsideAndDoNotStopAnotherOfTheSameName) {
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}, NewTask("a", 0), AppendEvent{"a", 1, "x"}}));
  store_.reset();
  Tamper(dir_.path(), "PRAGMA foreign_keys=OFF; DELETE FROM job");
  Reopen();
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  EXPECT_THAT(jobs, IsEmpty());
  EXPECT_OK(store_->Commit({PutJob{Record("a", 1)}, NewTask("a", 0), AppendEvent{"a", 1, "y"}}));
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir_ / "state.db").c_str(), &db), SQLITE_OK);
  sqlite3_stmt* rows = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(db, "SELECT COUNT(*) FROM set_aside WHERE job = 'a'", -1, &rows, nullptr),
            SQLITE_OK);
  EXPECT_EQ(sqlite3_step(rows), SQLITE_ROW);
  EXPECT_EQ(sqlite3_column_int(rows, 0), 2);
  sqlite3_finalize(rows);
  sqlite3_close(db);
}

TEST_F(StateStoreTest, AnUnreadableCachedResultIsNamedAndTheOthersAreSeen) {
  ASSERT_OK(store_->Commit({PutCachedResult{"bad", {}, absl::UnixEpoch()}, PutCachedResult{"good", {}, {}}}));
  Tamper(dir_.path(), "UPDATE task_cache SET outputs = x'ff' WHERE key = 'bad'");
  std::vector<std::string> readable, unreadable;
  ASSERT_OK(store_->VisitCachedResults([&](const CachedResult& result) { readable.push_back(result.key); },
                                       unreadable));
  EXPECT_THAT(readable, ElementsAre("good"));
  EXPECT_THAT(unreadable, ElementsAre("bad"));
}

TEST_F(StateStoreTest, AnEmptiedFileIsRefusedWhereJobsHaveData) {
  store_.reset();
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(dir_ / "state.db" + suffix);
  std::filesystem::resize_file(dir_ / "state.db", 0);
  std::filesystem::create_directories(dir_ / "blobs/sha256/ab");
  dir_.Write("blobs/sha256/ab/blob", "x");
  EXPECT_THAT(SqliteStore::Open(dir_.path(), absl::UnixEpoch()), HasReason("STORE_EMPTY"));
  std::filesystem::remove_all(dir_ / "blobs");
  EXPECT_OK(SqliteStore::Open(dir_.path(), absl::UnixEpoch()));
}

TEST(ForeignStoreTest, ADatabaseOfAnotherProgramIsLeftAsItIs) {
  const TemporaryDirectory dir;
  Tamper(dir.path(), "CREATE TABLE photographs(name TEXT)");
  EXPECT_THAT(SqliteStore::Open(dir.path(), absl::UnixEpoch()), HasReason("STORE_FOREIGN"));
  Tamper(dir.path(), "INSERT INTO photographs VALUES('sunset')");
}

// ---- A full disk

class FullDiskTest : public StateStoreTest {
 protected:
  FullDiskTest() {
    disk_.FreeBytes(int64_t{1} << 30);
    store_.reset();
  }
  ~FullDiskTest() override { store_.reset(); }  // its files must close before the disk goes
  // Opens the store with a reserve of so many parts.
  absl::Status OpenWithReserve(int parts) {
    store_.reset();
    auto opened = SqliteStore::Open(dir_.path(), absl::UnixEpoch(), [this, parts]() mutable {
      if (parts-- <= 0) return false;
      ++parts_given_;
      disk_.FreeBytes(64 << 10);
      return true;
    });
    if (opened.ok()) store_ = *std::move(opened);
    return opened.status();
  }

  LimitedDisk disk_;
  int parts_given_ = 0;
};

TEST_F(FullDiskTest, ACommitTakesWhatItNeedsFromTheReserve) {
  ASSERT_OK(OpenWithReserve(3));
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}, NewTask("a", 0)}));
  disk_.FreeBytes(0);
  ASSERT_OK(store_->Commit({DeleteJobRows{"a"}}));
  EXPECT_EQ(parts_given_, 1);
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  EXPECT_THAT(jobs, IsEmpty());
}

TEST_F(FullDiskTest, WithoutAReserveNothingIsHalfWritten) {
  ASSERT_OK(OpenWithReserve(0));
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}}));
  disk_.FreeBytes(0);
  EXPECT_THAT(store_->Commit({PutJob{Record("b", 2)}}),
              testing::AllOf(StatusIs(absl::StatusCode::kResourceExhausted), HasReason("DISK_FULL")));
  disk_.FreeBytes(1 << 20);
  ASSERT_OK(store_->Commit({PutJob{Record("c", 3)}}));
  ASSERT_OK_AND_ASSIGN(const auto jobs, store_->LoadJobs());
  ASSERT_THAT(jobs, SizeIs(2));
  EXPECT_EQ(jobs[1].record.id(), "c");
}

TEST_F(FullDiskTest, TheStoreOpensOnAFullDisk) {
  ASSERT_OK(OpenWithReserve(0));
  ASSERT_OK(store_->Commit({PutJob{Record("a", 1)}}));
  store_.reset();
  disk_.FreeBytes(0);
  EXPECT_THAT(OpenWithReserve(0), HasReason("DISK_FULL"));
  ASSERT_OK(OpenWithReserve(3));
  ASSERT_OK(store_->Commit({DeleteJobRows{"a"}}));
}

}  // namespace
}  // namespace quantmoe
