// Keeps the facts in memory and the state store in step: applies events to the table, gathers the rows they
// touched, and hands them over for one commit. On the commit loop's thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "base/clock.h"
#include "server/facts/job_table.h"
#include "server/facts/loop_thread.h"
#include "server/facts/state_store.h"

namespace quantmoe {

class FactsRecorder {
 public:
  FactsRecorder(StateStore& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Replaces the facts with what is stored and forgets changes that were not committed. Reads the store on
  // the loop's thread, which can do nothing else before the facts are those of the store.
  absl::Status Reload() ON_LOOP;
  const JobTable& table() const ON_LOOP { return table_; }
  // Jobs whose rows could not all be read, and why.
  const std::map<std::string, absl::Status>& unreadable() const ON_LOOP { return unreadable_; }

  void Apply(const Event& event) ON_LOOP;
  // Appends a row to the job's event log; sets its number and time.
  void AppendLog(const std::string& job, v1::JobEvent event) ON_LOOP;

  void RememberResult(const std::string& key, const std::vector<v1::TaskBlob>& outputs) ON_LOOP;
  void ForgetResult(const std::string& key) ON_LOOP;
  // Forgets it unless it was used since.
  void ForgetUnusedResult(const std::string& key, absl::Time unused_since) ON_LOOP;
  void TouchResult(const std::string& key) ON_LOOP;
  // The outputs of a result that is not committed yet, which readers of the store cannot see; null when there
  // is none.
  const std::vector<v1::TaskBlob>* FindUncommittedResult(const std::string& key) const ON_LOOP;

  bool dirty() const ON_LOOP;
  // What to commit; the caller commits it or calls Reload.
  std::vector<Change> TakeChanges() ON_LOOP;
  // Jobs whose log grew or that were deleted since the last call.
  std::set<std::string> TakeNews() ON_LOOP;

 private:
  void Touch(const JobTable::Touched& touched) ON_LOOP;

  StateStore& store_;
  const Clock& clock_;
  JobTable table_ OF_LOOP;
  std::map<std::string, absl::Status> unreadable_ OF_LOOP;
  std::set<std::string> dirty_jobs_ OF_LOOP;
  std::map<std::pair<std::string, int>, bool> dirty_tasks_ OF_LOOP;  // value: the definition is new
  std::set<std::string> deleted_jobs_ OF_LOOP;
  std::vector<AppendEvent> log_ OF_LOOP;
  std::vector<Change> cache_changes_ OF_LOOP;
  absl::flat_hash_map<std::string, std::vector<v1::TaskBlob>> uncommitted_results_ OF_LOOP;
  std::set<std::string> news_ OF_LOOP;
};

}  // namespace quantmoe
