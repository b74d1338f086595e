// What a JobLifecycle does about blobs that are lost or damaged: it looks which they are, and has their
// producers run again.
#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/log.h"
#include "base/retry.h"
#include "server/loop/job_lifecycle.h"
#include "storage/lost_blob.h"

namespace quantmoe {
namespace {

absl::Status TextLost(const std::set<std::string>& lost) {
  return MakeError(
      absl::StatusCode::kDataLoss, "BLOB_LOST",
      absl::StrCat("the text with SHA-256 ", *lost.begin(),
                   ", which the job was submitted with, is lost or damaged and cannot be fetched "
                   "again: submit the job again with the file"),
      {{"sha256", *lost.begin()}});
}

absl::Status LostTooOften(const Task& task) {
  return MakeError(absl::StatusCode::kDataLoss, "BLOB_LOST",
                   absl::StrCat("the result of task ", task.label(), " was lost or damaged ",
                                task.reopened() + 1, " times: check the disk of the data directory"),
                   {{"task", task.label()}});
}

bool Produces(const Task& task, const std::set<std::string>& lost) {
  return std::any_of(task.outputs().begin(), task.outputs().end(),
                     [&](const BlobRef& output) { return lost.contains(output.digest.sha256); });
}

}  // namespace

void JobLifecycle::CheckInputs(const std::string& id, const std::string& label, const std::string& named,
                               const std::function<void(const BlobCheck&)>& then) {
  const Job& job = *facts_.table().Find(id);
  absl::StatusOr<std::vector<BlobRef>> inputs = job.graph.InputsOf(*job.graph.Find(label));
  // An input that was reopened already has no digest: the task waits for it anyway.
  if (!inputs.ok()) return then({.lost = {}, .indirect = {}, .restored = true});
  const bool direct = std::any_of(inputs->begin(), inputs->end(),
                                  [&named](const BlobRef& input) { return input.digest.sha256 == named; });
  const TaskNode* producer = direct || named.empty() ? nullptr : job.graph.ProducerOf(named);
  if (producer == nullptr) return CheckBlobs(id, *std::move(inputs), then);
  // A disk that lost one tensor of a plan may have lost more: all are looked at, not one each attempt.
  std::set<std::string> indirect;
  for (const TaskNode& task : job.graph.tasks()) {
    if (task.definition.kind != producer->definition.kind) continue;
    for (const BlobRef& output : task.outputs) {
      indirect.insert(output.digest.sha256);
      inputs->push_back(output);
    }
  }
  CheckBlobs(id, *std::move(inputs), [indirect = std::move(indirect), then](BlobCheck check) {
    std::set_intersection(check.lost.begin(), check.lost.end(), indirect.begin(), indirect.end(),
                          std::inserter(check.indirect, check.indirect.end()));
    then(check);
  });
}

absl::Status JobLifecycle::Restore(const Digest& digest, const v1::JobSpec& spec) const {
  return options_.restore_text ? options_.restore_text(digest, spec) : absl::NotFoundError("");
}

void JobLifecycle::CheckBlobs(const std::string& id, std::vector<BlobRef> blobs,
                              const std::function<void(const BlobCheck&)>& then) {
  const bool posted = rooms_.steps.Post(
      [this, spec = facts_.table().Find(id)->record.spec(), then, blobs = std::move(blobs)] {
        BlobCheck check;
        for (const auto& [role, digest] : blobs) {
          if (!IsLostBlob(blobs_.Verify(digest))) continue;
          const absl::Status restored = Restore(digest, spec);
          if (restored.ok()) {
            check.restored = true;
          } else if (IsRetryable(restored) || GetErrorInfo(restored).reason == "SHUTTING_DOWN") {
            check.unknown = true;
          } else {
            check.lost.insert(digest.sha256);
          }
        }
        loop_.Post([then, check] { then(check); });
      });
  if (!posted) then({.lost = {}, .indirect = {}, .unknown = true});
}

void JobLifecycle::Reopen(const std::string& id, const std::set<std::string>& lost,
                          const std::set<std::string>& indirect) {
  const Job& job = *facts_.table().Find(id);
  if (job.record.state() != v1::Job::RUNNING) return;
  std::set<std::string> unmade = lost;
  std::vector<int> reopened;
  for (const Task& task : job.tasks) {
    if (task.record.state() != v1::Task::DONE || !Produces(task, lost)) continue;
    for (const BlobRef& output : task.outputs()) unmade.erase(output.digest.sha256);
    if (job.graph.IsNeeded(*task.node) || Produces(task, indirect)) reopened.push_back(task.index());
  }
  if (!unmade.empty()) return Fail(id, TextLost(unmade));
  for (int index : reopened) {
    const Task& task = job.tasks[index];
    if (task.reopened() >= kMostReopened) return Fail(id, LostTooOften(task));
    Log(LogLevel::kWarning, "a lost result is computed again", {{"job", id}, {"task", task.label()}});
    metrics_.ResultReopened(task.kind());
    if (!task.key().empty()) facts_.ForgetResult(task.key());
    facts_.Apply(TaskReopened{id, task.label()});
    facts_.AppendLog(id, TaskEvent(task, v1::TaskChanged::REOPENED));
  }
  ResolveReadyTasks(id, reopened);
}

}  // namespace quantmoe
