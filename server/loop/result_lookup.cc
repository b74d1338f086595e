#include "server/loop/result_lookup.h"

#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"

#include "base/log.h"
#include "server/facts/task_rows.h"

namespace quantmoe {

void ResultLookup::Start() {
  if (wanted_.empty()) return;
  const auto wanted = std::make_shared<std::vector<Wanted>>(std::move(wanted_));
  wanted_.clear();
  const bool posted =
      room_.Post([this, wanted] { loop_.Post([this, answers = Read(*wanted)] { answered_(answers); }); });
  if (!posted) wanted_ = std::move(*wanted);
}

std::vector<ResultLookup::Answer> ResultLookup::Read(const std::vector<Wanted>& wanted) const {
  std::vector<std::string> keys;
  for (const Wanted& task : wanted) keys.push_back(task.key);
  const absl::StatusOr<std::vector<CachedResult>> stored = store_.FindCachedResults(keys);
  if (!stored.ok())
    Log(LogLevel::kWarning, "task cache cannot be read", {{"error", stored.status().ToString()}});
  absl::flat_hash_map<std::string, const CachedResult*> by_key;
  if (stored.ok()) {
    for (const CachedResult& result : *stored) by_key[result.key] = &result;
  }
  std::vector<Answer> answers;
  for (const Wanted& task : wanted) {
    const auto found = by_key.find(task.key);
    answers.push_back(found == by_key.end() ? Answer{task} : CheckBlobs(task, *found->second));
  }
  return answers;
}

ResultLookup::Answer ResultLookup::CheckBlobs(const Wanted& wanted, const CachedResult& found) const {
  if (found.outputs.empty()) return {wanted, {}, /*lost=*/true};
  for (const v1::TaskBlob& output : found.outputs) {
    const absl::StatusOr<bool> stored = blobs_.Contains(FromProto(output.digest()));
    // A store that does not answer has lost nothing: the task runs, and the result stays for others.
    if (!stored.ok()) return {wanted};
    if (!*stored) return {wanted, {}, /*lost=*/true};
  }
  return {wanted, found.outputs};
}

}  // namespace quantmoe
