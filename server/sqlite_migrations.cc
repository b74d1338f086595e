#include "server/sqlite_migrations.h"

#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
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
