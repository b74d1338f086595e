// Keeps the facts in memory and the state store in step: applies events to the table, gathers the rows they
// touched, and hands them over for one commit. Used on the commit loop's thread only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "base/clock.h"
#include "server/facts/job_table.h"
#include "server/facts/state_store.h"

namespace quantmoe {

class FactsRecorder {
 public:
  FactsRecorder(StateStore& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Replaces the facts with what is stored and forgets changes that were not committed.
  absl::Status Reload();
  const JobTable& table() const { return table_; }
  // Jobs whose rows could not all be read, and why.
  const std::map<std::string, absl::Status>& unreadable() const { return unreadable_; }

  void Apply(const Event& event);
  // Appends a row to the job's event log; sets its number and time.
  void AppendLog(const std::string& job, v1::JobEvent event);

  void RememberResult(const std::string& key, const std::vector<v1::TaskBlob>& outputs);
  void ForgetResult(const std::string& key);
  void TouchResult(const std::string& key);
  // Sees uncommitted results too.
  absl::StatusOr<std::optional<std::vector<v1::TaskBlob>>> FindResult(const std::string& key);

  bool dirty() const;
  // What to commit; the caller commits it or calls Reload.
  std::vector<Change> TakeChanges();
  // Jobs whose log grew or that were deleted since the last call.
  std::set<std::string> TakeNews();

 private:
  void Touch(const JobTable::Touched& touched);

  StateStore& store_;
  const Clock& clock_;
  JobTable table_;
  std::map<std::string, absl::Status> unreadable_;
  std::set<std::string> dirty_jobs_;
  std::map<std::pair<std::string, int>, bool> dirty_tasks_;  // value: the definition is new
  std::set<std::string> deleted_jobs_;
  std::vector<AppendEvent> log_;
  std::vector<Change> cache_changes_;
  absl::flat_hash_map<std::string, std::vector<v1::TaskBlob>> uncommitted_results_;
  std::set<std::string> news_;
};

}  // namespace quantmoe
