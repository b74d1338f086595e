#include "server/decide/garbage.h"

#include "base/status_macros.h"
#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"
#include "plan/options/spec_files.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

using Digests = absl::flat_hash_set<std::string>;

void MarkJob(const Job& job, Digests& live) {
  const bool ended = IsTerminal(job.record.state());
  for (const Task& task : job.tasks) {
    const absl::StatusOr<TaskKind> kind = ParseTaskKind(task.definition.kind());
    for (const auto& input : task.definition.inputs()) {
      if (!ended && input.has_blob()) live.insert(input.blob().sha256());
    }
    for (const v1::TaskBlob& output : task.record.outputs()) {
      const bool kept = !ended || !kind.ok() || IsKeptAfterJob(*kind, output.role());
      if (kept) live.insert(output.digest().sha256());
    }
  }
  const auto spec = JobSpecFromJson(job.record.spec_json());
  if (!spec.ok()) return;  // this program wrote it; a job of an unreadable spec cannot run again anyway
  for (const NamedBlob& blob : NamedBlobs(*spec)) live.insert(blob.digest.sha256);
}

}  // namespace

absl::StatusOr<Digests> MarkLiveBlobs(FactsRecorder& facts, StateStore& store, absl::Time oldest_use) {
  Digests live;
  Digests keys_in_use;
  for (const auto& [id, job] : facts.table().jobs()) {
    MarkJob(job, live);
    if (IsTerminal(job.record.state())) continue;
    for (const Task& task : job.tasks) keys_in_use.insert(task.record.key());
  }
  std::vector<std::string> forgotten, unreadable;
  RETURN_IF_ERROR(store.VisitCachedResults(
      [&](const CachedResult& result) {
        if (result.last_used < oldest_use && !keys_in_use.contains(result.key)) {
          forgotten.push_back(result.key);
          return;
        }
        for (const v1::TaskBlob& output : result.outputs) live.insert(output.digest().sha256());
      },
      unreadable));
  forgotten.insert(forgotten.end(), unreadable.begin(), unreadable.end());
  for (const std::string& key : forgotten) facts.ForgetResult(key);
  return live;
}

}  // namespace quantmoe
