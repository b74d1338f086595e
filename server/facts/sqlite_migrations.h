// The schema of the embedded store, as numbered steps. A released step is never edited: its checksum is in
// the store, and a store whose steps differ is refused, as is one that a newer program wrote.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "server/facts/sqlite_connection.h"

namespace quantmoe {

// FAILED_PRECONDITION STORE_FOREIGN when another program made the file.
absl::Status CheckOrigin(SqliteConnection& db);

// Rows that belong to no job go to the table `set_aside`, where they are in nobody's way.
absl::Status SetOrphansAside(SqliteConnection& db, absl::Time now);

// Brings the schema up to date; each step is one transaction. FAILED_PRECONDITION STORE_SCHEMA_UNKNOWN.
absl::Status MigrateSchema(SqliteConnection& db, absl::Time now);

}  // namespace quantmoe
