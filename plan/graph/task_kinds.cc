// The table of kinds, and what task_kind.h promises of it.
#include "plan/graph/task_kinds.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "plan/graph/graph_shape.h"
#include "plan/graph/task_inputs.h"
#include "plan/graph/task_memory.h"
#include "plan/graph/task_work.h"

namespace quantmoe {
namespace {

using Job = const ResolvedJob&;
using Place = const TaskPlace&;

double WorkOfModel(Job job, Place) { return WholeModelWork(job); }
int64_t MemoryOfTable(Job job, Place) { return AllocateBytes(job); }

std::string LabelOfPrepare(Place) { return kPrepareLabel; }
int64_t MemoryOfPrepare(Job job, Place) { return PrepareBytes(job); }

std::string LabelOfForward(Place place) {
  if (place.half == LayerHalf::kAttention) return AttendLabel(place.layer, place.number);
  if (place.half == LayerHalf::kFeedForward) return FeedLabel(place.layer, place.number);
  return ForwardLabel(place.layer, place.number);
}
int64_t MemoryOfForward(Job job, Place place) {
  return place.sample ? SampleForwardBytes(job, place.layer) : ForwardBytes(job, place.layer);
}
double WorkOfForward(Job job, Place place) {
  return ForwardWork(job, place.layer) / (place.half == LayerHalf::kBoth ? 1 : 2);
}

std::string LabelOfSolve(Place place) { return SolveLabel(*place.part); }
int64_t MemoryOfSolve(Job job, Place place) { return SolveBytes(job, *place.part); }
double WorkOfSolve(Job job, Place place) { return SolveWork(job, *place.part, place.shards); }

std::string LabelOfProbe(Place place) { return ProbeLabel(place.layer, place.number); }
int64_t MemoryOfProbe(Job job, Place place) {
  const int groups = ProbeGroupsOf(job, place.layer);
  return place.number == 0 ? ProbeBytes(job, groups) : ProbeBytes(job, 2 * groups) + AllocateBytes(job);
}
double WorkOfProbe(Job job, Place place) {
  return place.number == 0 ? ProbeWork(job, place.layer) : MovesWork(job, place.layer);
}

std::string LabelOfPredict(Place place) { return PredictLabel(place.layer); }
int64_t MemoryOfPredict(Job job, Place place) { return PredictBytes(job, place.layer); }
double WorkOfPredict(Job job, Place place) { return PredictWork(job, place.shards); }

std::string LabelOfAllocate(Place) { return kAllocateLabel; }

std::string LabelOfRefine(Place place) { return RefineLabel(place.number); }
int64_t MemoryOfRefine(Job job, Place) { return RefineBytes(job); }
double WorkOfRefine(Job job, Place) { return RefineWork(job); }

std::string LabelOfVerdict(Place) { return kVerdictLabel; }
double WorkOfVerdict(Job job, Place) { return VerdictWork(job); }

std::string LabelOfReSolve(Place place) { return ReSolveLabel(*place.part); }
int64_t MemoryOfReSolve(Job job, Place place) { return ReSolveBytes(job, *place.part); }
double WorkOfReSolve(Job job, Place place) { return 2 * WorkOfSolve(job, place); }

std::string LabelOfAssemble(Place) { return kAssembleLabel; }

std::string LabelOfEvaluate(Place place) { return EvaluateLabel(place.weights, place.number); }
int64_t MemoryOfEvaluate(Job job, Place) { return EvaluateBytes(job); }
double WorkOfEvaluate(Job job, Place) { return EvaluateWork(job); }

std::string LabelOfPublish(Place) { return kPublishLabel; }
int64_t MemoryOfPublish(Job job, Place) { return PublishBytes(job); }

constexpr std::array kKinds = std::to_array<TaskKindRecord>({
    {TaskKind::kPrepare, "prepare", "", LabelOfPrepare, PrepareParams, PrepareInputs, MemoryOfPrepare,
     WorkOfModel},
    {TaskKind::kForward, "forward", "", LabelOfForward, ForwardParams, ForwardInputs, MemoryOfForward,
     WorkOfForward},
    {TaskKind::kSolve, "solve", "", LabelOfSolve, SolveParams, SolveInputs, MemoryOfSolve, WorkOfSolve},
    {TaskKind::kProbe, "probe", "", LabelOfProbe, ProbeParams, ProbeInputs, MemoryOfProbe, WorkOfProbe},
    {TaskKind::kPredict, "predict", "", LabelOfPredict, PredictParams, PredictInputs, MemoryOfPredict,
     WorkOfPredict},
    {TaskKind::kAllocate, "allocate", "*", LabelOfAllocate, AllocateParams, AllocateInputs, MemoryOfTable,
     WorkOfModel},
    {TaskKind::kRefine, "refine", "plan search", LabelOfRefine, RefineParams, RefineInputs, MemoryOfRefine,
     WorkOfRefine},
    {TaskKind::kVerdict, "verdict", "*", LabelOfVerdict, VerdictParams, VerdictInputs, MemoryOfRefine,
     WorkOfVerdict},
    {TaskKind::kReSolve, "resolve", "", LabelOfReSolve, ReSolveParams, ReSolveInputs, MemoryOfReSolve,
     WorkOfReSolve},
    {TaskKind::kAssemble, "assemble", "*", LabelOfAssemble, AssembleParams, AssembleInputs, MemoryOfTable,
     WorkOfModel},
    {TaskKind::kEvaluate, "evaluate", "", LabelOfEvaluate, EvaluateParams, EvaluateInputs, MemoryOfEvaluate,
     WorkOfEvaluate},
    {TaskKind::kPublish, "publish", "manifest scores items", LabelOfPublish, PublishParams, PublishInputs,
     MemoryOfPublish, WorkOfModel},
});

// Every kind has its record at its own place, so that a kind is an index.
static_assert(kKinds.size() == static_cast<size_t>(TaskKind::kPublish) + 1);
static_assert([] {
  for (size_t i = 0; i < kKinds.size(); ++i) {
    if (kKinds[i].kind != static_cast<TaskKind>(i)) return false;
  }
  return true;
}());

}  // namespace

const TaskKindRecord& RecordOf(TaskKind kind) { return kKinds[static_cast<size_t>(kind)]; }

TaskDefinition MakeTask(const ResolvedJob& job, TaskKind kind, const TaskPlace& place) {
  const TaskKindRecord& record = RecordOf(kind);
  return {record.label(place),
          kind,
          record.params(job, place).dump(),
          record.inputs(job, place),
          record.memory(job, place),
          record.work(job, place)};
}

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

}  // namespace quantmoe
