#include "cli/task_flags.h"

#include <filesystem>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "cli/value_text.h"

namespace quantmoe::cli {
namespace {

// Files by task.
struct TaskFiles {
  std::map<std::string, std::string> data;
  std::map<std::string, std::string> fewshot;
};

TaskFiles FindTasks(const std::string& directory, std::vector<FieldViolation>& violations) {
  TaskFiles files;
  if (directory.empty()) return files;
  const auto find = [&](const std::string& name, std::string& found) {
    std::error_code ignored;
    for (const char* ending : {".parquet", ".jsonl"}) {
      const std::filesystem::path path = std::filesystem::path(directory) / (name + ending);
      if (std::filesystem::is_regular_file(path, ignored)) found = path.string();
    }
    return !found.empty();
  };
  for (const absl::string_view known : kBenchmarks) {
    const std::string task(known);
    std::string data, fewshot;
    if (!find(task, data)) continue;
    files.data[task] = data;
    if (find(task + "_dev", fewshot)) files.fewshot[task] = fewshot;
  }
  if (files.data.empty()) {
    violations.push_back({"--tasks", absl::StrCat("no known <task>.jsonl or .parquet in '", directory, "'")});
  }
  return files;
}

TaskFiles CollectTasks(const TypedFlags& flags, std::vector<FieldViolation>& violations) {
  TaskFiles files = FindTasks(flags.Text("--tasks"), violations);
  const auto take = [&](const char* flag, std::map<std::string, std::string>& taken) {
    for (const std::string& text : flags.All(flag)) {
      if (const auto pair = SplitPair(text)) {
        taken[pair->first] = pair->second;
      } else {
        violations.push_back({flag, NoPair(text)});
      }
    }
  };
  take("--task", files.data);
  take("--fewshot", files.fewshot);
  for (const auto& [name, file] : files.fewshot) {
    if (!files.data.contains(name))
      violations.push_back({"--fewshot", absl::StrCat("there is no task '", name, "'")});
  }
  return files;
}

}  // namespace

const std::vector<OptionInfo>& TaskFlags() {
  static const auto& flags = *new std::vector<OptionInfo>{
      {.name = "tasks",
       .flag = "--tasks",
       .group = HelpGroup::kEvaluation,
       .help = "Take every known <task>.jsonl or .parquet, with <task>_dev as few-shot",
       .value = "DIR"},
      {.name = "tasks",
       .flag = "--task",
       .group = HelpGroup::kEvaluation,
       .help = "Benchmark items as JSON lines or Parquet, here or at hf://datasets/...; repeatable",
       .value = "NAME=FILE"},
      {.name = "tasks",
       .flag = "--fewshot",
       .group = HelpGroup::kEvaluation,
       .help = "Items for few-shot prompts of a task; repeatable",
       .value = "NAME=FILE"},
      {.name = "tasks",
       .flag = "--limit",
       .group = HelpGroup::kEvaluation,
       .help = "Only the first so many items of each task (default: all)",
       .value = "INT"},
  };
  return flags;
}

std::vector<BenchmarkTaskSpec> ReadTasks(const TypedFlags& flags, std::vector<FieldViolation>& violations) {
  TaskFiles files = CollectTasks(flags, violations);
  std::vector<BenchmarkTaskSpec> tasks;
  for (const auto& [name, path] : files.data) {
    BenchmarkTaskSpec& task = tasks.emplace_back();
    task.name = name;
    task.data_uri = path;
    task.fewshot_data_uri = files.fewshot[name];
  }
  LimitTasks(flags, tasks, violations);
  return tasks;
}

void LimitTasks(const TypedFlags& flags, std::vector<BenchmarkTaskSpec>& tasks,
                std::vector<FieldViolation>& violations) {
  if (!flags.Has("--limit")) return;
  int64_t limit = 0;
  if (!absl::SimpleAtoi(flags.Text("--limit"), &limit) || limit < 1) {
    violations.push_back({"--limit", absl::StrCat("'", flags.Text("--limit"), "' is no number above 0")});
  }
  for (BenchmarkTaskSpec& task : tasks) task.limit = limit;
}

}  // namespace quantmoe::cli
