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
#include "local/model_input.h"
#include "quant/device/torch_guard.h"
#include "quant/tasks/run_task.h"
#include "storage/durable_file.h"
#include "storage/lost_blob.h"

namespace quantmoe {
namespace {

// A blob that is lost more often points to a disk that destroys what is written to it.
constexpr int kMostLosses = 2;

std::string ResultPath(const std::string& work_dir, const std::string& key) {
  return absl::StrCat(work_dir, "/results/", key, ".json");
}

// Half of the memory that is available is for tasks, the rest for the files that they map. A GPU is not
// shared.
int LanesThatFit(const std::vector<PlannedTask>& tasks, int threads, const ComputeDevice& device) {
  if (device.is_gpu()) return 1;
  int64_t largest = 1;
  for (const PlannedTask& task : tasks) largest = std::max(largest, task.memory_bytes);
  return static_cast<int>(std::clamp<int64_t>(AvailableMemoryBytes() / 2 / largest, 1, threads));
}

}  // namespace

absl::Status JobRunner::Run(const Reporter& report) {
  RETURN_IF_ERROR(MakeDirs(work_dir_ + "/results"));
  ASSIGN_OR_RETURN(std::vector<PlannedTask> tasks, PlanTasks(report));
  return RunSideBySide(std::move(tasks), report);
}

absl::StatusOr<std::vector<PlannedTask>> JobRunner::PlanTasks(const Reporter& report) {
  RETURN_IF_ERROR(RunOne(PlanPrepare(job_), Kept::kUse));
  absl::StatusOr<PrepareSummary> summary;
  RETURN_IF_ERROR(WithWholeBlobs([&] {
    summary = ReadSummary();
    return summary.status();
  }));
  std::vector<PlannedTask> tasks = PlanRest(job_, *summary);
  report("prepare", 1, tasks.size() + 1);
  return tasks;
}

absl::StatusOr<PrepareSummary> JobRunner::ReadSummary() const {
  ASSIGN_OR_RETURN(const Digest digest, Output(kPrepareLabel, "summary"));
  ASSIGN_OR_RETURN(const MappedFile blob, blobs_.Open(digest));
  return PrepareSummaryFromJson(blob.bytes());
}

absl::Status JobRunner::RunSideBySide(std::vector<PlannedTask> tasks, const Reporter& report) {
  threads_ = ComputeThreads();
  lanes_ = LanesThatFit(tasks, threads_, device_);
  tasks_ = std::move(tasks);
  taken_.assign(tasks_.size(), false);
  std::vector<std::thread> lanes;
  for (int i = 0; i < lanes_; ++i) lanes.emplace_back([this, &report] { RunLane(report); });
  for (std::thread& lane : lanes) lane.join();
  return failure_;
}

void JobRunner::RunLane(const Reporter& report) {
  std::unique_lock lock(mutex_);
  while (const PlannedTask* task = Take(lock)) {
    ++running_;
    lock.unlock();
    // Nothing that is thrown may leave a thread.
    const absl::Status status = RunGuarded(task->label, [&] { return RunOne(*task, Kept::kUse); });
    lock.lock();
    --running_;
    if (status.ok()) report(task->label, finished_.size(), tasks_.size() + 1);
    failure_.Update(status);
    changed_.notify_all();
  }
}

const PlannedTask* JobRunner::Take(std::unique_lock<std::mutex>& lock) {
  for (;; changed_.wait(lock)) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < tasks_.size() && ready.size() < 2; ++i) {
      if (!taken_[i] && Ready(tasks_[i])) ready.push_back(i);
    }
    const bool finished = std::find(taken_.begin(), taken_.end(), false) == taken_.end();
    if (!finished && ready.empty() && running_ == 0) {
      failure_.Update(absl::InternalError("the tasks that are left wait for inputs that no task gives"));
    }
    if (!failure_.ok() || finished) return nullptr;
    if (ready.empty()) continue;
    // Nothing can start beside a task that is alone before it ends.
    const bool alone = running_ == 0 && ready.size() == 1;
    SetTaskThreads(alone ? threads_ : std::max(1, threads_ / lanes_));
    taken_[ready.front()] = true;
    return &tasks_[ready.front()];
  }
}

absl::StatusOr<Digest> JobRunner::Output(const std::string& label, const std::string& role) const {
  const auto task = finished_.find(label);
  if (task == finished_.end() || !task->second.outputs.contains(role)) {
    return absl::NotFoundError(absl::StrCat("task ", label, " has no output ", role));
  }
  return task->second.outputs.at(role);
}

absl::StatusOr<std::vector<BlobRef>> JobRunner::ResolveInputs(const PlannedTask& task) const {
  std::vector<BlobRef> inputs;
  for (const TaskInput& input : task.inputs) {
    if (input.producer.empty()) {
      inputs.push_back({input.role, input.blob});
      continue;
    }
    ASSIGN_OR_RETURN(const Digest digest, Output(input.producer, input.producer_role));
    inputs.push_back({input.role, digest});
  }
  return inputs;
}

bool JobRunner::Ready(const PlannedTask& task) const {
  return std::all_of(task.inputs.begin(), task.inputs.end(), [this](const TaskInput& input) {
    return input.producer.empty() || finished_.contains(input.producer);
  });
}

absl::Status JobRunner::WithWholeBlobs(const std::function<absl::Status()>& use) {
  while (true) {
    absl::Status status = use();
    const std::optional<PlannedTask> maker = MakerOfLost(status);
    if (!maker) return status;
    RETURN_IF_ERROR(RunOne(*maker, Kept::kMakeAgain));
  }
}

std::optional<PlannedTask> JobRunner::MakerOfLost(const absl::Status& loss) {
  if (loss.ok() || !IsLostBlob(loss)) return std::nullopt;
  const std::string sha256 = GetErrorInfo(loss).metadata["sha256"];
  const std::lock_guard lock(mutex_);
  const auto made = std::find_if(finished_.begin(), finished_.end(), [&](const auto& finished) {
    const auto& outputs = finished.second.outputs;
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](const auto& output) { return output.second.sha256 == sha256; });
  });
  if (made == finished_.end() || ++losses_[sha256] > kMostLosses) return std::nullopt;
  const auto task = std::find_if(tasks_.begin(), tasks_.end(),
                                 [&](const PlannedTask& planned) { return planned.label == made->first; });
  return task == tasks_.end() ? PlanPrepare(job_) : *task;
}

absl::Status JobRunner::RunOne(const PlannedTask& task, Kept kept) {
  return WithWholeBlobs([&] { return RunOnce(task, kept); });
}

absl::Status JobRunner::RunOnce(const PlannedTask& task, Kept kept) {
  std::unique_lock lock(mutex_);
  ASSIGN_OR_RETURN(const std::vector<BlobRef> inputs, ResolveInputs(task));
  lock.unlock();
  absl::StatusOr<FinishedTask> finished = Compute(task, inputs, kept);
  if (!finished.ok()) return Annotate(finished.status(), task.label);
  lock.lock();
  finished_[task.label] = *std::move(finished);
  return absl::OkStatus();
}

absl::StatusOr<FinishedTask> JobRunner::Compute(const PlannedTask& task, const std::vector<BlobRef>& inputs,
                                                Kept kept) {
  const std::string key = TaskKey(task.kind, task.params_json, inputs, DeterminismClass(device_));
  FinishedTask finished;
  if (kept == Kept::kUse && LoadResult(key, finished)) return finished;
  const CrashContext crash_context(task.label);
  static const std::atomic<bool> never_cancelled{false};
  TaskContext context{blobs_, models_, [](double, absl::string_view) {}, never_cancelled, &device_};
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const std::vector<BlobRef> outputs, RunTask(task.kind, task.params_json, inputs, context));
  finished.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const BlobRef& output : outputs) finished.outputs[output.role] = output.digest;
  RETURN_IF_ERROR(SaveResult(key, finished));
  return finished;
}

bool JobRunner::LoadResult(const std::string& key, FinishedTask& task) {
  const absl::StatusOr<std::string> text = ReadUserFile(ResultPath(work_dir_, key));
  if (!text.ok()) return false;
  const nlohmann::json json = ParseJson(*text).value_or(nullptr);
  if (!json.is_object()) return false;
  for (const auto& [role, digest] : json.items()) {
    const bool whole = digest.is_object() && digest.contains("sha256") && digest["sha256"].is_string() &&
                       digest.contains("size") && digest["size"].is_number_integer();
    if (!whole) return false;
    const Digest blob{digest["sha256"].get<std::string>(), digest["size"].get<int64_t>()};
    if (!blobs_.Contains(blob).value_or(false)) return false;
    task.outputs[role] = blob;
  }
  task.cached = true;
  return true;
}

absl::Status JobRunner::SaveResult(const std::string& key, const FinishedTask& task) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [role, digest] : task.outputs)
    json[role] = {{"sha256", digest.sha256}, {"size", digest.size_bytes}};
  return WriteFileDurably(ResultPath(work_dir_, key), json.dump());
}

}  // namespace quantmoe
