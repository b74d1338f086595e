#include "server/facts/sqlite_connection.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include <sqlite3.h>

#include "base/error_info.h"

namespace quantmoe {
namespace {

absl::Status ToStatus(sqlite3* db, int code) {
  const std::string message = absl::StrCat("state store: ", sqlite3_errmsg(db));
  // Not every way to run out of room is SQLITE_FULL: a quota, or the shared memory beside the log.
  const int error = sqlite3_system_errno(db);
  const bool wrote = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
  if (wrote && (error == ENOSPC || error == EDQUOT || error == EFBIG)) code = SQLITE_FULL;
  if (wrote && error == EROFS) code = SQLITE_READONLY;
  // The file is no longer where it was opened: no fault of the disk.
  if (sqlite3_extended_errcode(db) == SQLITE_READONLY_DBMOVED) code = SQLITE_ERROR;
  switch (code & 0xff) {
    case SQLITE_READONLY:
      return MakeError(absl::StatusCode::kUnavailable, "DISK_READ_ONLY", message);
    case SQLITE_FULL:
      return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
    case SQLITE_CONSTRAINT:
      return MakeError(absl::StatusCode::kAlreadyExists, "ROW_EXISTS", message);
    case SQLITE_BUSY:
      return MakeError(absl::StatusCode::kUnavailable, "STORE_BUSY", message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", message);
    default:
      return MakeError(absl::StatusCode::kInternal, "STORE_FAILED", message);
  }
}

}  // namespace

SqliteStatement& SqliteStatement::Bind(int position, int64_t value) {
  sqlite3_bind_int64(statement_, position, value);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int position, absl::string_view text) {
  sqlite3_bind_text64(statement_, position, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int position, absl::string_view bytes) {
  sqlite3_bind_blob64(statement_, position, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  sqlite3* db = sqlite3_db_handle(statement_);
  const absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : ToStatus(db, code);
  sqlite3_reset(statement_);  // ends the read transaction, so that a checkpoint can pass it
  if (!status.ok()) return status;
  return false;
}

absl::Status SqliteStatement::Run() { return Step().status(); }

int64_t SqliteStatement::Integer(int column) const { return sqlite3_column_int64(statement_, column); }

absl::string_view SqliteStatement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? absl::string_view() : absl::string_view(static_cast<const char*>(data), size);
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path,
                                                                         bool read_only) {
  const int flags =
      SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(db));
  if (code != SQLITE_OK) return ToStatus(db, code);
  sqlite3_busy_timeout(db, /*ms=*/5000);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

absl::Status SqliteConnection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : ToStatus(db_, code);
}

absl::StatusOr<SqliteStatement> SqliteConnection::Prepare(const std::string& sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code = sqlite3_prepare_v3(db_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return ToStatus(db_, code);
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return SqliteStatement(statement);
}

int64_t SqliteConnection::changes() const { return sqlite3_changes(db_); }

}  // namespace quantmoe
