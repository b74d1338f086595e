#include "plan/graph/task_kind.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quantmoe {
namespace {

struct TaskKindRecord {
  TaskKind kind;
  absl::string_view name;
  absl::string_view kept;  // roles of outputs that outlive the job, with spaces between; "*": all
};

constexpr std::array<TaskKindRecord, 11> kKinds = {
    {{TaskKind::kPrepare, "prepare", ""},
     {TaskKind::kForward, "forward", ""},
     {TaskKind::kSolve, "solve", ""},
     {TaskKind::kProbe, "probe", ""},
     {TaskKind::kPredict, "predict", ""},
     {TaskKind::kAllocate, "allocate", "*"},
     {TaskKind::kRefine, "refine", "*"},
     {TaskKind::kResolve, "resolve", ""},
     {TaskKind::kAssemble, "assemble", "*"},
     {TaskKind::kEvaluate, "evaluate", ""},
     {TaskKind::kPublish, "publish", "manifest scores items"}}};

// Records stand in the order of the enumeration, so that a kind is an index.
static_assert([] {
  for (size_t i = 0; i < kKinds.size(); ++i) {
    if (kKinds[i].kind != static_cast<TaskKind>(i)) return false;
  }
  return true;
}());

const TaskKindRecord& RecordOf(TaskKind kind) { return kKinds[static_cast<size_t>(kind)]; }

}  // namespace

absl::string_view TaskKindName(TaskKind kind) { return RecordOf(kind).name; }

bool IsKeptAfterJob(TaskKind kind, absl::string_view role) {
  const std::vector<absl::string_view> kept = absl::StrSplit(RecordOf(kind).kept, ' ');
  return kept.front() == "*" || std::find(kept.begin(), kept.end(), role) != kept.end();
}

const std::vector<TaskKind>& AllTaskKinds() {
  static const auto* const kAll = [] {
    auto* all = new std::vector<TaskKind>();
    for (const TaskKindRecord& record : kKinds) all->push_back(record.kind);
    return all;
  }();
  return *kAll;
}

absl::StatusOr<TaskKind> ParseTaskKind(absl::string_view name) {
  for (const TaskKindRecord& record : kKinds) {
    if (record.name == name) return record.kind;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown kind of task: ", name));
}

std::string TaskKey(TaskKind kind, absl::string_view params_json, const std::vector<BlobRef>& inputs,
                    absl::string_view determinism_class) {
  Sha256 hash;
  const auto add = [&hash](absl::string_view piece) {
    hash.Update(absl::StrCat(piece.size(), ":"));
    hash.Update(piece);
  };
  add("quantmoe-task-1");
  add(TaskKindName(kind));
  add(params_json);
  add(determinism_class);
  for (const BlobRef& input : inputs) {
    add(input.role);
    add(input.digest.sha256);
  }
  return hash.Finish().sha256;
}

}  // namespace quantmoe
