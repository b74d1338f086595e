#include "server/facts/stored_records.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/graph/task_graph.h"
#include "proto/grpc_status.h"
#include "proto/job_state.h"
#include "server/facts/job_table.h"

namespace quantmoe {
namespace {

template <typename Message>
bool Parse(absl::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::Status Unreadable(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "RECORD_UNREADABLE",
                   absl::StrCat(what, " of this job in the state store cannot be read; it was set aside"));
}

bool IsState(JobState state) { return v1::Job::State_IsValid(state) && state != v1::Job::STATE_UNSPECIFIED; }
bool IsState(TaskState state) {
  return v1::Task::State_IsValid(state) && state != v1::Task::STATE_UNSPECIFIED;
}

// Producers come before the tasks that read from them.
bool IsGraph(const StoredJob& job) {
  absl::flat_hash_set<std::string> labels;
  for (const auto& [definition, record] : job.tasks) {
    for (const auto& input : definition.inputs()) {
      if (!input.producer().empty() && !labels.contains(input.producer())) return false;
    }
    if (!labels.insert(definition.label()).second) return false;
  }
  return true;
}

void MarkFailed(StoredJob& job) {
  job.record.set_state(v1::Job::FAILED);
  job.record.set_reason(std::string(job.unreadable.message()));
  *job.record.mutable_error() = ToRpcStatus(job.unreadable);
}

}  // namespace

StoredJob ReadJob(absl::string_view id, int64_t number, absl::string_view record) {
  StoredJob job;
  if (Parse(record, job.record) && job.record.id() == id && job.record.create_number() == number &&
      IsState(job.record.state())) {
    return job;
  }
  job.record.Clear();
  job.record.set_id(std::string(id));
  job.record.set_create_number(number);
  job.unreadable = Unreadable("the record");
  MarkFailed(job);
  return job;
}

void ReadTask(absl::string_view definition, absl::string_view record, StoredJob& job) {
  auto& [parsed, state] = job.tasks.emplace_back();
  const bool readable = Parse(definition, parsed) && Parse(record, state) && !parsed.label().empty() &&
                        ParseTaskKind(parsed.kind()).ok() && IsState(state.state());
  if (!readable && job.unreadable.ok()) job.unreadable = Unreadable("a task");
}

void SettleUnreadable(StoredJob& job) {
  if (job.unreadable.ok() && !IsGraph(job)) job.unreadable = Unreadable("a task");
  if (job.unreadable.ok()) return;
  job.tasks.clear();
  if (!IsTerminal(job.record.state())) MarkFailed(job);
}

v1::JobEvent DecodeEvent(const StoredEvent& event) {
  v1::JobEvent decoded;
  if (!Parse(event.payload, decoded)) decoded.Clear();
  decoded.set_seq(event.seq);
  return decoded;
}

}  // namespace quantmoe
