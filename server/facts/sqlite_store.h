// The embedded state store: SQLite with write-ahead log and synchronous=FULL, in a directory that one
// coordinator owns (flock on LOCK).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "server/facts/sqlite_connection.h"
#include "server/facts/state_store.h"

namespace quantmoe {

class SqliteStore : public StateStore {
 public:
  // Frees some room on a full disk; false when it cannot.
  using MakeRoom = std::function<bool()>;
  // Locks the directory, checks and migrates the file, sets rows without a job aside, takes the next term.
  // FAILED_PRECONDITION DATA_DIR_IN_USE when another coordinator has it, STORE_EMPTY when the file is empty
  // beside data of jobs, STORE_FOREIGN when another program made it; DATA_LOSS STORE_DAMAGED.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& dir, absl::Time now,
                                                           MakeRoom make_room = {});
  ~SqliteStore() override;

  int64_t term() const override { return term_; }
  absl::Status Commit(const std::vector<Change>& changes) ON_LOOP override;
  absl::StatusOr<std::vector<StoredJob>> LoadJobs() ON_LOOP override;
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(absl::string_view job, int64_t after_seq,
                                                      int limit) NEVER_ON_LOOP override;
  absl::StatusOr<std::vector<CachedResult>> FindCachedResults(const std::vector<std::string>& keys)
      NEVER_ON_LOOP override;
  absl::Status VisitCachedResults(const std::function<void(const CachedResult&)>& visit,
                                  std::vector<std::string>& unreadable) NEVER_ON_LOOP override;

 private:
  SqliteStore() = default;
  absl::Status OpenDatabase(const std::string& path, absl::Time now) ON_LOOP;
  absl::Status CommitOnce(const std::vector<Change>& changes) ON_LOOP;
  absl::Status CheckTerm() ON_LOOP;
  absl::Status Apply(const Change& change) ON_LOOP;
  absl::Status Write(const PutJob& change) ON_LOOP;
  absl::Status Write(const PutTask& change) ON_LOOP;
  absl::Status Write(const AppendEvent& change) ON_LOOP;
  absl::Status Write(const PutCachedResult& change) ON_LOOP;
  absl::Status Write(const TouchCachedResult& change) ON_LOOP;
  absl::Status Write(const DeleteCachedResult& change) ON_LOOP;
  absl::Status Write(const DeleteJobRows& change) ON_LOOP;
  // The next results in the order of their keys, after the key `after`, read in one go; empty at the end.
  struct CachePage {
    std::vector<CachedResult> results;
    std::vector<std::string> unreadable;
    std::string last_key;
  };
  absl::StatusOr<CachePage> ReadCachePage(const std::string& after);

  MakeRoom make_room_;
  int lock_fd_ = -1;
  int64_t term_ = 0;
  std::unique_ptr<SqliteConnection> writer_ OF_LOOP;
  absl::Mutex mutex_;
  std::unique_ptr<SqliteConnection> reader_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
