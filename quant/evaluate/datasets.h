// The benchmark data sets as JSON lines, in the field layout of their publishers: text to typed items, with
// every violation named by file, line and field.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace quantmoe {

enum class Benchmark { kWinogrande, kCopa, kOpenBookQa, kHellaSwag, kPiqa, kMmlu };

// "winogrande", "copa", "openbookqa", "hellaswag", "piqa", "mmlu"; else INVALID_ARGUMENT TASK_UNKNOWN {task}.
absl::StatusOr<Benchmark> ParseBenchmark(std::string_view name);
const char* BenchmarkName(Benchmark benchmark);
// Whether the task reports accuracy by length-normalized likelihood beside plain accuracy.
bool ReportsNormalizedAccuracy(Benchmark benchmark);

struct WinograndeItem {
  std::string sentence;  // has a '_'
  std::array<std::string, 2> options;
  int answer;  // 0 or 1 (the data set says "1" or "2")
};
struct CopaItem {
  std::string premise;
  std::array<std::string, 2> choices;  // not empty
  bool asks_cause;                     // else it asks for the effect
  int label;
};
struct OpenBookQaItem {
  std::string question_stem;
  std::vector<std::string> choices;
  int answer;  // index of answerKey among the labels
};
struct HellaSwagItem {
  std::string activity_label;
  std::string ctx_a;
  std::string ctx_b;
  std::vector<std::string> endings;  // 4
  int label;
};
struct PiqaItem {
  std::string goal;
  std::array<std::string, 2> solutions;
  int label;
};
struct MmluItem {
  std::string question;
  std::vector<std::string> choices;  // 4
  int answer;
  std::string subject;  // words joined by '_'
};
using BenchmarkItem =
    std::variant<WinograndeItem, CopaItem, OpenBookQaItem, HellaSwagItem, PiqaItem, MmluItem>;

// `file` is the name to show in errors. Labels may be numbers or strings of digits, as in the published sets;
// fields that are not needed are ignored, and so are empty lines. INVALID_ARGUMENT TASK_DATA_INVALID {file,
// line, field}; a file without items is one, too.
absl::StatusOr<std::vector<BenchmarkItem>> ReadItems(Benchmark benchmark, std::string_view jsonl,
                                                     const std::string& file);

}  // namespace quantmoe
