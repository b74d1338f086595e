#include "local/job_runner.h"

#include <atomic>
#include <chrono>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "local/model_input.h"
#include "quant/tasks/run_task.h"

namespace quantmoe {
namespace {

std::string ResultPath(const std::string& work_dir, const std::string& key) {
  return absl::StrCat(work_dir, "/results/", key, ".json");
}

}  // namespace

absl::Status JobRunner::Run(const std::function<void(const std::string&, size_t, size_t)>& report) {
  std::filesystem::create_directories(work_dir_ + "/results");
  RETURN_IF_ERROR(RunOne(PlanPrepare(job_)));
  ASSIGN_OR_RETURN(const Digest digest, Output("prepare", "summary"));
  ASSIGN_OR_RETURN(const MappedFile blob, blobs_.Open(digest));
  ASSIGN_OR_RETURN(const PrepareSummary summary, PrepareSummaryFromJson(blob.bytes()));
  const std::vector<PlannedTask> rest = PlanRest(job_, summary);
  report("prepare", 1, rest.size() + 1);
  for (size_t i = 0; i < rest.size(); ++i) {
    RETURN_IF_ERROR(RunOne(rest[i]));
    report(rest[i].label, i + 2, rest.size() + 1);
  }
  return absl::OkStatus();
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

absl::Status JobRunner::RunOne(const PlannedTask& task) {
  ASSIGN_OR_RETURN(const std::vector<BlobRef> inputs, ResolveInputs(task));
  const std::string key = TaskKey(task.kind, task.params_json, inputs, DeterminismClass());
  FinishedTask& finished = finished_[task.label];
  if (LoadResult(key, finished)) return absl::OkStatus();
  static const std::atomic<bool> never_cancelled{false};
  TaskContext context{blobs_, models_, [](double, absl::string_view) {}, never_cancelled};
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<std::vector<BlobRef>> outputs = RunTask(task.kind, task.params_json, inputs, context);
  if (!outputs.ok()) return Annotate(outputs.status(), task.label);
  finished.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const BlobRef& output : *outputs) finished.outputs[output.role] = output.digest;
  return SaveResult(key, *outputs);
}

bool JobRunner::LoadResult(const std::string& key, FinishedTask& task) {
  const absl::StatusOr<std::string> text = ReadUserFile(ResultPath(work_dir_, key));
  if (!text.ok()) return false;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return false;
  for (const auto& [role, digest] : json.items()) {
    const Digest blob{digest.at("sha256"), digest.at("size")};
    if (!blobs_.Contains(blob).value_or(false)) return false;
    task.outputs[role] = blob;
  }
  task.cached = true;
  return true;
}

absl::Status JobRunner::SaveResult(const std::string& key, const std::vector<BlobRef>& outputs) {
  nlohmann::json json = nlohmann::json::object();
  for (const BlobRef& output : outputs)
    json[output.role] = {{"sha256", output.digest.sha256}, {"size", output.digest.size_bytes}};
  const std::string path = ResultPath(work_dir_, key);
  RETURN_IF_ERROR(WriteUserFile(path + ".part", json.dump()));
  std::error_code error;
  std::filesystem::rename(path + ".part", path, error);
  return error ? absl::InternalError(absl::StrCat("cannot write ", path, ": ", error.message()))
               : absl::OkStatus();
}

}  // namespace quantmoe
