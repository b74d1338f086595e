#include "local/job_runner.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/crash_report.h"
#include "base/error_info.h"
#include "base/host_memory.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "plan/graph/task_graph.h"
#include "quant/device/torch_guard.h"
#include "quant/tasks/run_task.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

std::string ResultPath(const std::string& work_dir, const std::string& key) {
  return absl::StrCat(work_dir, "/results/", key, ".json");
}

// Half of the memory that is available is for tasks, the rest for the files that they map. A GPU is not
// shared.
int LanesThatFit(const TaskGraphState& graph, int threads, const ComputeDevice& device) {
  if (device.is_gpu()) return 1;
  int64_t largest = 1;
  for (const TaskNode& task : graph.tasks()) {
    if (task.phase != TaskPhase::kDone) largest = std::max(largest, task.definition.memory_bytes);
  }
  return static_cast<int>(std::clamp<int64_t>(AvailableMemoryBytes() / 2 / largest, 1, threads));
}

}  // namespace

absl::Status JobRunner::Run(const Reporter& report) {
  RETURN_IF_ERROR(MakeDirs(work_dir_ + "/results"));
  AddTasks({PrepareTask(job_)});
  RETURN_IF_ERROR(RunPrepare());
  absl::StatusOr<PrepareSummary> summary;
  RETURN_IF_ERROR(WithWholeBlobs([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Digest digest, graph_.OutputOf(kPrepareLabel, "summary"));
    summary = ReadPrepareSummary(blobs_, digest);
    return summary.status();
  }));
  AddTasks(TasksAfterPrepare(job_, *summary));
  report(kPrepareLabel, static_cast<size_t>(graph_.done()), graph_.tasks().size());
  return RunSideBySide(report);
}

void JobRunner::AddTasks(std::vector<TaskDefinition> tasks) {
  for (const int added : graph_.Apply(graph_event::Planned{std::move(tasks)})) {
    if (graph_.task(added).WaitsForNobody()) graph_.Apply(graph_event::Ready{added});
  }
  seconds_.resize(graph_.tasks().size());
}

absl::Status JobRunner::RunPrepare() {
  const TaskNode& prepare = *graph_.Find(kPrepareLabel);
  Start(prepare);
  return RunStarted(prepare, Kept::kUse);
}

absl::Status JobRunner::RunSideBySide(const Reporter& report) {
  threads_ = ComputeThreads();
  lanes_ = LanesThatFit(graph_, threads_, device_);
  std::vector<std::thread> lanes;
  for (int i = 0; i < lanes_; ++i) lanes.emplace_back([this, &report] { RunLane(report); });
  for (std::thread& lane : lanes) lane.join();
  return failure_;
}

void JobRunner::RunLane(const Reporter& report) {
  std::unique_lock lock(mutex_);
  while (const TaskNode* task = Take(lock)) {
    const std::string& label = task->definition.label;
    lock.unlock();
    // Nothing that is thrown may leave a thread.
    const absl::Status status = RunGuarded(label, [&] { return RunStarted(*task, Kept::kUse); });
    lock.lock();
    if (status.ok()) report(label, static_cast<size_t>(graph_.done()), graph_.tasks().size());
    failure_.Update(status);
    changed_.notify_all();
  }
}

const TaskNode* JobRunner::Take(std::unique_lock<std::mutex>& lock) {
  for (;; changed_.wait(lock)) {
    const size_t ready = graph_.ready().size(), running = graph_.running().size();
    const bool left = static_cast<size_t>(graph_.done()) + running < graph_.tasks().size();
    if (left && ready == 0 && running == 0) {
      failure_.Update(absl::InternalError("the tasks that are left wait for inputs that no task gives"));
    }
    if (!failure_.ok() || !left) return nullptr;
    if (ready == 0) continue;
    // Nothing can start beside a task that is alone before it ends.
    const bool alone = running == 0 && ready == 1;
    SetTaskThreads(alone ? threads_ : std::max(1, threads_ / lanes_));
    const TaskNode& task = graph_.task(graph_.ready().begin()->second);
    Start(task);
    return &task;
  }
}

void JobRunner::Start(const TaskNode& task) { graph_.Apply(graph_event::Started{task.index}); }

absl::Status JobRunner::WithWholeBlobs(const std::function<absl::Status()>& use, const TaskNode* reader) {
  while (true) {
    absl::Status status = use();
    if (status.ok() || !IsLostBlob(status)) return status;
    ASSIGN_OR_RETURN(const bool again, MakeAgain(status, reader));
    if (!again) return status;
  }
}

absl::StatusOr<bool> JobRunner::MakeAgain(const absl::Status& loss, const TaskNode* reader) {
  const std::string sha256 = GetErrorInfo(loss).metadata["sha256"];
  std::unique_lock lock(mutex_);
  // Another lane has missed a result of the same producer, which runs again; RunOnce waits for it.
  if (reader != nullptr && reader->unmet > 0) return failure_.ok();
  const TaskNode* maker = graph_.ProducerOf(sha256);
  if (maker == nullptr || maker->reopened >= kMostReopened) return false;
  graph_.Apply(graph_event::Reopened{maker->index});
  Start(*maker);
  lock.unlock();
  const absl::Status made = RunStarted(*maker, Kept::kMakeAgain);
  lock.lock();
  failure_.Update(made);
  changed_.notify_all();
  if (!made.ok()) return made;
  return true;
}

absl::Status JobRunner::RunStarted(const TaskNode& task, Kept kept) {
  return WithWholeBlobs([&] { return RunOnce(task, kept); }, &task);
}

absl::Status JobRunner::RunOnce(const TaskNode& task, Kept kept) {
  std::unique_lock lock(mutex_);
  // An input may be lost, and made again by another lane.
  changed_.wait(lock, [&] { return task.unmet == 0 || !failure_.ok(); });
  ASSIGN_OR_RETURN(const std::vector<BlobRef> inputs, graph_.InputsOf(task));
  lock.unlock();
  absl::StatusOr<Result> result = Compute(task, inputs, kept);
  if (!result.ok()) return Annotate(result.status(), task.definition.label);
  lock.lock();
  Finish(task, *std::move(result));
  return absl::OkStatus();
}

void JobRunner::Finish(const TaskNode& task, Result result) {
  seconds_[static_cast<size_t>(task.index)] += result.seconds;
  graph_.Apply(graph_event::Done{task.index, std::move(result.outputs), result.cached});
  for (const int dependent : task.dependents) {
    if (graph_.task(dependent).WaitsForNobody()) graph_.Apply(graph_event::Ready{dependent});
  }
  changed_.notify_all();
}

absl::StatusOr<JobRunner::Result> JobRunner::Compute(const TaskNode& task, const std::vector<BlobRef>& inputs,
                                                     Kept kept) {
  const TaskDefinition& definition = task.definition;
  const std::string key = TaskKey(definition.kind, definition.params_json, inputs, DeterminismClass(device_));
  if (kept == Kept::kUse) {
    if (std::optional<Result> earlier = LoadResult(key)) return *std::move(earlier);
  }
  const CrashContext crash_context(definition.label);
  static const std::atomic<bool> never_cancelled{false};
  TaskContext context{blobs_, models_, [](double, absl::string_view) {}, never_cancelled, &device_};
  const auto start = std::chrono::steady_clock::now();
  Result result;
  ASSIGN_OR_RETURN(result.outputs, RunTask(definition.kind, definition.params_json, inputs, context));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RETURN_IF_ERROR(SaveResult(key, result.outputs));
  return result;
}

std::optional<JobRunner::Result> JobRunner::LoadResult(const std::string& key) {
  const absl::StatusOr<std::string> text = ReadWholeFile(ResultPath(work_dir_, key), kMaxDataBytes);
  if (!text.ok()) return std::nullopt;
  const nlohmann::json json = ParseJson(*text).value_or(nullptr);
  if (!json.is_object()) return std::nullopt;
  Result result{.outputs = {}, .cached = true};
  for (const auto& [role, digest] : json.items()) {
    const bool whole = digest.is_object() && digest.contains("sha256") && digest["sha256"].is_string() &&
                       digest.contains("size") && digest["size"].is_number_integer();
    if (!whole) return std::nullopt;
    const Digest blob{digest["sha256"].get<std::string>(), digest["size"].get<int64_t>()};
    if (!blobs_.Contains(blob).value_or(false)) return std::nullopt;
    result.outputs.push_back({role, blob});
  }
  return result;
}

absl::Status JobRunner::SaveResult(const std::string& key, const std::vector<BlobRef>& outputs) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [role, digest] : outputs)
    json[role] = {{"sha256", digest.sha256}, {"size", digest.size_bytes}};
  return WriteFileDurably(ResultPath(work_dir_, key), json.dump());
}

}  // namespace quantmoe
