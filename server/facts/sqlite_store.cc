#include "server/facts/sqlite_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include <sys/file.h>

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/status_macros.h"
#include "server/facts/sqlite_migrations.h"
#include "server/facts/stored_records.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

// So many results are read before other readers get a turn.
constexpr int kCachePageRows = 1000;
constexpr char kPragmas[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA "
    "journal_size_limit=67108864; PRAGMA temp_store=MEMORY;";

absl::StatusOr<int> LockDirectory(const std::string& dir) {
  const std::string path = dir + "/LOCK";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    const absl::Status error = ErrnoError(errno, absl::StrCat("cannot write to the data directory ", dir));
    if (IsDiskUnusable(error)) return error;
    return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_DIR_UNUSABLE", error.message());
  }
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_DIR_IN_USE",
                   absl::StrCat("another coordinator uses the data directory ", dir));
}

absl::Status QuickCheck(SqliteConnection& db) {
  ASSIGN_OR_RETURN(SqliteStatement check, db.Prepare("PRAGMA quick_check(1)"));
  ASSIGN_OR_RETURN(const bool row, check.Step());
  if (row && check.Bytes(0) == "ok") return check.Step().status();
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", "the state store fails its integrity check");
}

absl::Status Damaged(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", absl::StrCat("unreadable row of ", what));
}

absl::StatusOr<int64_t> TakeTerm(SqliteConnection& db, absl::Time now) {
  ASSIGN_OR_RETURN(
      SqliteStatement take,
      db.Prepare("UPDATE leader SET term = term + 1, elected_us = ? WHERE id = 1 RETURNING term"));
  take.Bind(1, absl::ToUnixMicros(now));
  ASSIGN_OR_RETURN(const bool found, take.Step());
  if (!found) return Damaged("leader");
  const int64_t term = take.Integer(0);
  RETURN_IF_ERROR(take.Step().status());
  return term;
}

// An empty file would be taken for a new store, and the jobs whose data lies beside it for gone. The folders
// are made after the store was opened for the first time.
absl::Status CheckNotEmptied(const std::string& dir) {
  std::error_code error;
  const std::string path = dir + "/state.db";
  if (std::filesystem::file_size(path, error) != 0 || error) return absl::OkStatus();
  const bool used = std::filesystem::exists(dir + "/blobs", error) ||
                    std::filesystem::exists(dir + "/artifacts", error) ||
                    std::filesystem::exists(path + "-wal", error);
  if (!used) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_EMPTY",
                   absl::StrCat(path,
                                " is empty, but the folders of an earlier start are beside it: put the file "
                                "back from a backup; to begin without the earlier jobs, delete it"));
}

// The outputs of a cached result are stored in the outputs of an otherwise empty record.
std::string EncodeOutputs(const std::vector<v1::TaskBlob>& outputs) {
  server::TaskRecord record;
  record.mutable_outputs()->Assign(outputs.begin(), outputs.end());
  return record.SerializeAsString();
}

template <typename Message>
absl::Status Decode(absl::string_view bytes, absl::string_view what, Message& message) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return Damaged(what);
}

absl::StatusOr<CachedResult> DecodeCachedResult(const SqliteStatement& row) {
  server::TaskRecord record;
  RETURN_IF_ERROR(Decode(row.Bytes(1), "task_cache", record));
  return CachedResult{.key = std::string(row.Bytes(0)),
                      .outputs = {record.outputs().begin(), record.outputs().end()},
                      .last_used = absl::FromUnixMicros(row.Integer(2))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& dir, absl::Time now,
                                                               MakeRoom make_room) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  std::unique_ptr<SqliteStore> store(new SqliteStore);
  store->make_room_ = std::move(make_room);
  ASSIGN_OR_RETURN(store->lock_fd_, LockDirectory(dir));
  RETURN_IF_ERROR(CheckNotEmptied(dir));
  const LoopScope before_the_loop;
  while (true) {
    const absl::Status opened = store->OpenDatabase(dir + "/state.db", now);
    if (opened.ok()) return store;
    if (!IsDiskFull(opened) || !store->make_room_ || !store->make_room_()) return Annotate(opened, dir);
  }
}

absl::Status SqliteStore::OpenDatabase(const std::string& path, absl::Time now) {
  ASSIGN_OR_RETURN(writer_, SqliteConnection::Open(path, /*read_only=*/false));
  RETURN_IF_ERROR(CheckOrigin(*writer_));
  RETURN_IF_ERROR(writer_->Execute(kPragmas));
  RETURN_IF_ERROR(QuickCheck(*writer_));
  RETURN_IF_ERROR(MigrateSchema(*writer_, now));
  RETURN_IF_ERROR(SetOrphansAside(*writer_, now));
  ASSIGN_OR_RETURN(term_, TakeTerm(*writer_, now));
  CrashPoint("after-term");
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(reader_, SqliteConnection::Open(path, /*read_only=*/true));
  return absl::OkStatus();
}

SqliteStore::~SqliteStore() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::Status SqliteStore::Commit(const std::vector<Change>& changes) {
  while (true) {
    absl::Status status = CommitOnce(changes);
    if (!IsDiskFull(status) || !make_room_ || !make_room_()) return status;
  }
}

absl::Status SqliteStore::CommitOnce(const std::vector<Change>& changes) {
  RETURN_IF_ERROR(writer_->Execute("BEGIN IMMEDIATE"));
  absl::Status status = CheckTerm();
  for (auto change = changes.begin(); status.ok() && change != changes.end(); ++change)
    status = Apply(*change);
  CrashPoint("before-commit");
  if (status.ok()) status = writer_->Execute("COMMIT");
  if (!status.ok()) writer_->Execute("ROLLBACK").IgnoreError();
  CrashPoint("after-commit");
  return status;
}

absl::Status SqliteStore::CheckTerm() {
  ASSIGN_OR_RETURN(SqliteStatement query, writer_->Prepare("SELECT term FROM leader WHERE id = 1"));
  RETURN_IF_ERROR(query.Step().status());
  const int64_t term = query.Integer(0);
  RETURN_IF_ERROR(query.Step().status());
  if (term == term_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "STALE_TERM",
                   absl::StrCat("this coordinator has term ", term_, ", the store has ", term));
}

absl::Status SqliteStore::Apply(const Change& change) {
  return std::visit([this](const auto& c) ON_LOOP { return Write(c); }, change);
}

absl::Status SqliteStore::Write(const PutJob& change) {
  const server::JobRecord& record = change.record;
  ASSIGN_OR_RETURN(SqliteStatement put,
                   writer_->Prepare("INSERT INTO job VALUES(?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET "
                                    "state = excluded.state, record = excluded.record"));
  put.Bind(1, record.id()).Bind(2, record.create_number()).Bind(3, int64_t{record.state()});
  RETURN_IF_ERROR(put.BindBlob(4, record.SerializeAsString()).Run());
  if (record.request_id().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      SqliteStatement remember,
      writer_->Prepare("INSERT INTO idempotency SELECT ?1, ?2, ?3 WHERE NOT EXISTS(SELECT 1 FROM "
                       "idempotency WHERE request_id = ?1 AND job = ?3)"));
  return remember.Bind(1, record.request_id()).Bind(2, record.request_hash()).Bind(3, record.id()).Run();
}

absl::Status SqliteStore::Write(const PutTask& change) {
  const std::string record = change.record.SerializeAsString();
  if (change.definition.has_value()) {
    ASSIGN_OR_RETURN(SqliteStatement insert, writer_->Prepare("INSERT INTO task VALUES(?, ?, ?, ?, ?)"));
    insert.Bind(1, change.job).Bind(2, int64_t{change.index}).Bind(3, int64_t{change.record.state()});
    return insert.BindBlob(4, change.definition->SerializeAsString()).BindBlob(5, record).Run();
  }
  ASSIGN_OR_RETURN(SqliteStatement update,
                   writer_->Prepare("UPDATE task SET state = ?, record = ? WHERE job = ? AND number = ?"));
  update.Bind(1, int64_t{change.record.state()}).BindBlob(2, record);
  return update.Bind(3, change.job).Bind(4, int64_t{change.index}).Run();
}

absl::Status SqliteStore::Write(const AppendEvent& change) {
  ASSIGN_OR_RETURN(SqliteStatement insert, writer_->Prepare("INSERT INTO event VALUES(?, ?, ?)"));
  return insert.Bind(1, change.job).Bind(2, change.seq).BindBlob(3, change.payload).Run();
}

absl::Status SqliteStore::Write(const PutCachedResult& change) {
  ASSIGN_OR_RETURN(SqliteStatement put,
                   writer_->Prepare("INSERT INTO task_cache VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE SET "
                                    "outputs = excluded.outputs, used_us = excluded.used_us"));
  return put.Bind(1, change.key)
      .BindBlob(2, EncodeOutputs(change.outputs))
      .Bind(3, absl::ToUnixMicros(change.time))
      .Run();
}

absl::Status SqliteStore::Write(const TouchCachedResult& change) {
  ASSIGN_OR_RETURN(SqliteStatement touch,
                   writer_->Prepare("UPDATE task_cache SET used_us = ? WHERE key = ?"));
  return touch.Bind(1, absl::ToUnixMicros(change.time)).Bind(2, change.key).Run();
}

absl::Status SqliteStore::Write(const DeleteCachedResult& change) {
  ASSIGN_OR_RETURN(SqliteStatement remove,
                   writer_->Prepare("DELETE FROM task_cache WHERE key = ? AND used_us <= ?"));
  return remove.Bind(1, change.key).Bind(2, absl::ToUnixMicros(change.unused_since)).Run();
}

absl::Status SqliteStore::Write(const DeleteJobRows& change) {
  ASSIGN_OR_RETURN(SqliteStatement remove, writer_->Prepare("DELETE FROM job WHERE id = ?"));
  return remove.Bind(1, change.job).Run();
}

absl::StatusOr<std::vector<StoredJob>> SqliteStore::LoadJobs() {
  std::vector<StoredJob> jobs;
  absl::flat_hash_map<std::string, size_t> positions;
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   writer_->Prepare("SELECT id, number, record FROM job ORDER BY number"));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    jobs.push_back(ReadJob(rows.Bytes(0), rows.Integer(1), rows.Bytes(2)));
    positions[jobs.back().record.id()] = jobs.size() - 1;
  }
  ASSIGN_OR_RETURN(SqliteStatement tasks,
                   writer_->Prepare("SELECT job, definition, record FROM task ORDER BY job, number"));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, tasks.Step());
    if (!more) break;
    if (const auto job = positions.find(tasks.Bytes(0)); job != positions.end()) {
      ReadTask(tasks.Bytes(1), tasks.Bytes(2), jobs[job->second]);
    }
  }
  for (StoredJob& job : jobs) SettleUnreadable(job);
  return jobs;
}

absl::StatusOr<std::vector<StoredEvent>> SqliteStore::ReadEvents(absl::string_view job, int64_t after_seq,
                                                                 int limit) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      reader_->Prepare("SELECT seq, payload FROM event WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?"));
  rows.Bind(1, job).Bind(2, after_seq).Bind(3, int64_t{limit});
  std::vector<StoredEvent> events;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return events;
    events.push_back({rows.Integer(0), std::string(rows.Bytes(1))});
  }
}

absl::StatusOr<std::vector<CachedResult>> SqliteStore::FindCachedResults(
    const std::vector<std::string>& keys) {
  std::vector<CachedResult> found;
  absl::MutexLock lock(&mutex_);
  for (const std::string& key : keys) {
    ASSIGN_OR_RETURN(SqliteStatement row,
                     reader_->Prepare("SELECT key, outputs, used_us FROM task_cache WHERE key = ?"));
    ASSIGN_OR_RETURN(const bool known, row.Bind(1, key).Step());
    if (!known) continue;
    // One that cannot be read is one that is not known; the garbage collection takes it away.
    if (absl::StatusOr<CachedResult> result = DecodeCachedResult(row); result.ok()) {
      found.push_back(*std::move(result));
    }
    RETURN_IF_ERROR(row.Step().status());
  }
  return found;
}

absl::Status SqliteStore::VisitCachedResults(const std::function<void(const CachedResult&)>& visit,
                                             std::vector<std::string>& unreadable) {
  CachePage page;
  do {
    ASSIGN_OR_RETURN(page, ReadCachePage(page.last_key));
    for (const CachedResult& result : page.results) visit(result);
    unreadable.insert(unreadable.end(), page.unreadable.begin(), page.unreadable.end());
  } while (!page.last_key.empty());
  return absl::OkStatus();
}

absl::StatusOr<SqliteStore::CachePage> SqliteStore::ReadCachePage(const std::string& after) {
  CachePage page;
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      reader_->Prepare("SELECT key, outputs, used_us FROM task_cache WHERE key > ? ORDER BY key LIMIT ?"));
  rows.Bind(1, after).Bind(2, int64_t{kCachePageRows});
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return page;
    page.last_key = std::string(rows.Bytes(0));
    absl::StatusOr<CachedResult> result = DecodeCachedResult(rows);
    if (result.ok()) {
      page.results.push_back(*std::move(result));
    } else {
      page.unreadable.push_back(page.last_key);
    }
  }
}

}  // namespace quantmoe
