#include "server/facts/facts_recorder.h"

#include "base/status_macros.h"
#include "proto/proto_time.h"
#include "server/facts/task_rows.h"

namespace quantmoe {

absl::Status FactsRecorder::Reload() {
  ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, store_.LoadJobs());
  // What is on its way for a job tells it by its number from another one of its name.
  table_ = JobTable(table_.next_number());
  unreadable_.clear();
  for (StoredJob& job : jobs) {
    if (!job.unreadable.ok()) unreadable_[job.record.id()] = job.unreadable;
    table_.Load(std::move(job.record), std::move(job.tasks), clock_.Monotonic());
  }
  dirty_jobs_.clear();
  dirty_tasks_.clear();
  deleted_jobs_.clear();
  log_.clear();
  cache_changes_.clear();
  uncommitted_results_.clear();
  return absl::OkStatus();
}

void FactsRecorder::Apply(const Event& event) { Touch(table_.Apply(event)); }

void FactsRecorder::Touch(const JobTable::Touched& touched) {
  if (touched.job.empty()) return;
  if (touched.deleted) {
    dirty_jobs_.erase(touched.job);
    std::erase_if(dirty_tasks_, [&](const auto& task) { return task.first.first == touched.job; });
    std::erase_if(log_, [&](const AppendEvent& event) { return event.job == touched.job; });
    deleted_jobs_.insert(touched.job);
    news_.insert(touched.job);
    return;
  }
  dirty_jobs_.insert(touched.job);
  for (int task : touched.tasks) dirty_tasks_[{touched.job, task}] |= touched.new_definitions;
}

void FactsRecorder::AppendLog(const std::string& job, v1::JobEvent event) {
  event.set_seq(table_.NextSeq(job));
  *event.mutable_time() = ToTimestamp(clock_.Now());
  log_.push_back({job, event.seq(), event.SerializeAsString()});
  dirty_jobs_.insert(job);
  news_.insert(job);
}

void FactsRecorder::RememberResult(const std::string& key, const std::vector<v1::TaskBlob>& outputs) {
  uncommitted_results_[key] = outputs;
  cache_changes_.push_back(PutCachedResult{key, outputs, clock_.Now()});
}

void FactsRecorder::ForgetResult(const std::string& key) {
  uncommitted_results_.erase(key);
  cache_changes_.push_back(DeleteCachedResult{key});
}

void FactsRecorder::ForgetUnusedResult(const std::string& key, absl::Time unused_since) {
  cache_changes_.push_back(DeleteCachedResult{key, unused_since});
}

void FactsRecorder::TouchResult(const std::string& key) {
  cache_changes_.push_back(TouchCachedResult{key, clock_.Now()});
}

const std::vector<v1::TaskBlob>* FactsRecorder::FindUncommittedResult(const std::string& key) const {
  const auto found = uncommitted_results_.find(key);
  return found == uncommitted_results_.end() ? nullptr : &found->second;
}

bool FactsRecorder::dirty() const {
  return !dirty_jobs_.empty() || !deleted_jobs_.empty() || !cache_changes_.empty();
}

std::vector<Change> FactsRecorder::TakeChanges() {
  std::vector<Change> changes;
  for (const std::string& job : deleted_jobs_) changes.push_back(DeleteJobRows{job});
  for (const std::string& job : dirty_jobs_) {
    changes.push_back(PutJob{table_.Revise(job)});
  }
  for (const auto& [task, is_new] : dirty_tasks_) {
    const Task& facts = table_.Find(task.first)->tasks[task.second];
    PutTask put{task.first, task.second, std::nullopt, RowOf(*facts.node, facts.record)};
    if (is_new) put.definition = DefineTask(facts.definition());
    changes.push_back(std::move(put));
  }
  for (AppendEvent& event : log_) changes.push_back(std::move(event));
  changes.insert(changes.end(), cache_changes_.begin(), cache_changes_.end());
  dirty_jobs_.clear();
  dirty_tasks_.clear();
  deleted_jobs_.clear();
  log_.clear();
  cache_changes_.clear();
  uncommitted_results_.clear();
  return changes;
}

std::set<std::string> FactsRecorder::TakeNews() { return std::exchange(news_, {}); }

}  // namespace quantmoe
