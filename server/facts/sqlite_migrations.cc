#include "server/facts/sqlite_migrations.h"

#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

constexpr const char* kSteps[] = {
    R"sql(
CREATE TABLE leader(id INTEGER PRIMARY KEY CHECK(id = 1), term INTEGER NOT NULL, elected_us INTEGER NOT NULL);
INSERT INTO leader VALUES(1, 0, 0);
CREATE TABLE job(id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, state INTEGER NOT NULL, record BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE idempotency(request_id TEXT PRIMARY KEY, request_hash TEXT NOT NULL,
  job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX idempotency_job ON idempotency(job);
CREATE TABLE task(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  state INTEGER NOT NULL, definition BLOB NOT NULL, record BLOB NOT NULL, PRIMARY KEY(job, number)) WITHOUT ROWID;
CREATE TABLE event(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, seq INTEGER NOT NULL,
  payload BLOB NOT NULL, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE task_cache(key TEXT PRIMARY KEY, outputs BLOB NOT NULL, used_us INTEGER NOT NULL) WITHOUT ROWID;
)sql",
};

absl::Status ApplyStep(SqliteConnection& db, int64_t version, const std::string& sql,
                       const std::string& checksum, absl::Time now) {
  RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status = db.Execute(sql);
  if (status.ok()) {
    ASSIGN_OR_RETURN(SqliteStatement insert, db.Prepare("INSERT INTO schema_migration VALUES(?, ?, ?)"));
    status = insert.Bind(1, version).Bind(2, checksum).Bind(3, absl::ToUnixMicros(now)).Run();
  }
  if (!status.ok()) {
    db.Execute("ROLLBACK").IgnoreError();
    return status;
  }
  CrashPoint("before-migration-commit");
  return db.Execute("COMMIT");
}

absl::Status SchemaUnknown(absl::string_view message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_SCHEMA_UNKNOWN", message);
}

}  // namespace

absl::Status CheckOrigin(SqliteConnection& db) {
  ASSIGN_OR_RETURN(
      SqliteStatement tables,
      db.Prepare("SELECT COUNT(*), COALESCE(SUM(name = 'schema_migration'), 0) FROM sqlite_master"));
  RETURN_IF_ERROR(tables.Step().status());
  const bool foreign = tables.Integer(0) > 0 && tables.Integer(1) == 0;
  RETURN_IF_ERROR(tables.Step().status());
  if (!foreign) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_FOREIGN",
                   "state.db is a database of another program: it is left as it is");
}

absl::Status SetOrphansAside(SqliteConnection& db, absl::Time now) {
  // What identifies a row of the table beside its job, and what it holds.
  struct Table {
    const char* name;
    const char* number;
    const char* bytes;
  };
  constexpr Table kTables[] = {{"task", "number", "definition || record"},
                               {"event", "seq", "payload"},
                               {"idempotency", "0", "request_id"}};
  for (const Table& table : kTables) {
    const std::string orphans = absl::StrCat(" FROM ", table.name, " WHERE job NOT IN (SELECT id FROM job)");
    ASSIGN_OR_RETURN(SqliteStatement count, db.Prepare(absl::StrCat("SELECT COUNT(*)", orphans)));
    RETURN_IF_ERROR(count.Step().status());
    const int64_t rows = count.Integer(0);
    RETURN_IF_ERROR(count.Step().status());
    if (rows == 0) continue;
    Log(LogLevel::kError, "rows of the state store that belong to no job were set aside",
        {{"table", table.name}, {"rows", rows}});
    RETURN_IF_ERROR(db.Execute(absl::StrCat(
        "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS set_aside(source TEXT NOT NULL, job TEXT NOT NULL, "
        "number "
        "INTEGER NOT NULL, bytes BLOB NOT NULL, found_us INTEGER NOT NULL); INSERT INTO set_aside SELECT '",
        table.name, "', job, ", table.number, ", ", table.bytes, ", ", absl::ToUnixMicros(now), orphans,
        "; DELETE", orphans, "; COMMIT")));
  }
  return absl::OkStatus();
}

absl::Status MigrateSchema(SqliteConnection& db, absl::Time now) {
  RETURN_IF_ERROR(db.Execute(
      "CREATE TABLE IF NOT EXISTS schema_migration(version INTEGER PRIMARY KEY, checksum TEXT NOT NULL, "
      "applied_us INTEGER NOT NULL)"));
  int64_t applied = 0;
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   db.Prepare("SELECT version, checksum FROM schema_migration ORDER BY version"));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    const int64_t version = rows.Integer(0);
    if (version != applied + 1 || version > std::ssize(kSteps)) {
      return SchemaUnknown(absl::StrCat("the state store has schema version ", version,
                                        ", this program knows ", std::ssize(kSteps)));
    }
    if (rows.Bytes(1) != DigestOf(kSteps[applied]).sha256) {
      return SchemaUnknown(
          absl::StrCat("schema step ", version, " of the state store is not the one of this program"));
    }
    ++applied;
  }
  for (; applied < std::ssize(kSteps); ++applied) {
    const std::string sql = kSteps[applied];
    RETURN_IF_ERROR(ApplyStep(db, applied + 1, sql, DigestOf(sql).sha256, now));
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
