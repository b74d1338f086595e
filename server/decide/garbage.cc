#include "server/decide/garbage.h"

#include "base/status_macros.h"
#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"
#include "plan/options/spec_files.h"
#include "plan/options/spec_json.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

using Digests = absl::flat_hash_set<std::string>;

void MarkJob(const Job& job, LiveFacts& live) {
  const bool ended = IsTerminal(job.record.state());
  for (const Task& task : job.tasks) {
    if (!ended) live.keys.insert(task.key());
    for (const TaskInput& input : task.definition().inputs) {
      if (!ended && input.producer.empty()) live.blobs.insert(input.blob.sha256);
    }
    for (const BlobRef& output : task.outputs()) {
      const bool kept = !ended || IsKeptAfterJob(task.definition().kind, output.role);
      if (kept) live.blobs.insert(output.digest.sha256);
    }
  }
  live.specs.push_back(job.record.spec_json());
}

void MarkTexts(const std::string& spec_json, Digests& live) {
  const auto spec = JobSpecFromJson(spec_json);
  if (!spec.ok()) return;  // this program wrote it; a job of an unreadable spec cannot run again anyway
  for (const NamedBlob& blob : NamedBlobs(*spec)) live.insert(blob.digest.sha256);
}

}  // namespace

LiveFacts GatherLiveFacts(const JobTable& jobs) {
  LiveFacts live;
  for (const auto& [id, job] : jobs.jobs()) MarkJob(job, live);
  return live;
}

absl::StatusOr<Garbage> FindGarbage(LiveFacts facts, StateStore& store, absl::Time oldest_use) {
  Garbage garbage{.live = std::move(facts.blobs), .unused = {}, .unreadable = {}};
  for (const std::string& spec : facts.specs) MarkTexts(spec, garbage.live);
  RETURN_IF_ERROR(store.VisitCachedResults(
      [&](const CachedResult& result) {
        if (result.last_used < oldest_use && !facts.keys.contains(result.key)) {
          garbage.unused.push_back(result.key);
          return;
        }
        for (const v1::TaskBlob& output : result.outputs) garbage.live.insert(output.digest().sha256());
      },
      garbage.unreadable));
  return garbage;
}

}  // namespace quantmoe
