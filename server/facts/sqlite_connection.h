// Small owners for the raw sqlite3 API: a connection and its prepared statements. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace quantmoe {

class SqliteStatement {
 public:
  // Positions count from 1.
  SqliteStatement& Bind(int position, int64_t value);
  SqliteStatement& Bind(int position, absl::string_view text);
  SqliteStatement& BindBlob(int position, absl::string_view bytes);

  // True while there is a row.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run();

  // Columns count from 0; valid until the next Step.
  int64_t Integer(int column) const;
  absl::string_view Bytes(int column) const;

 private:
  friend class SqliteConnection;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  sqlite3_stmt* statement_;
};

class SqliteConnection {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path, bool read_only);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Statements without parameters or rows; several separated by semicolons.
  absl::Status Execute(const std::string& sql);
  // A prepared statement, reset and unbound. Kept for the life of the connection; one use at a time.
  absl::StatusOr<SqliteStatement> Prepare(const std::string& sql);
  // Rows that the last statement changed.
  int64_t changes() const;

 private:
  explicit SqliteConnection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
  absl::flat_hash_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace quantmoe
