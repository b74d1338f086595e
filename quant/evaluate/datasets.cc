#include "quant/evaluate/datasets.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/python_strings.h"

namespace quantmoe {
namespace {

using nlohmann::json;

struct NamedBenchmark {
  const char* name;
  bool normalized;
};
// In the order of the enumeration.
constexpr NamedBenchmark kBenchmarks[] = {{"winogrande", false}, {"copa", false}, {"openbookqa", true},
                                          {"hellaswag", true},   {"piqa", true},  {"mmlu", false}};

// One line of a file; knows where it is, to say so.
class Line {
 public:
  Line(json object, const std::string& file, int64_t number)
      : object_(std::move(object)), file_(file), number_(number) {}

  absl::Status Bad(const std::string& what) const {
    return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                     absl::StrCat(file_, ":", number_, ": ", what),
                     {{"file", file_}, {"line", absl::StrCat(number_)}, {"field", ""}});
  }

  absl::Status Bad(const std::string& field, const std::string& what) const {
    return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                     absl::StrCat(file_, ":", number_, ": field '", field, "' ", what),
                     {{"file", file_}, {"line", absl::StrCat(number_)}, {"field", field}});
  }

  absl::StatusOr<const json*> Find(const std::string& field) const {
    const json* node = &object_;
    for (size_t begin = 0; begin <= field.size();) {
      const size_t end = std::min(field.find('.', begin), field.size());
      const auto found = node->is_object() ? node->find(field.substr(begin, end - begin)) : node->end();
      if (found == node->end()) return Bad(field, "is missing");
      node = &*found;
      begin = end + 1;
    }
    return node;
  }

  absl::StatusOr<std::string> Text(const std::string& field) const {
    ASSIGN_OR_RETURN(const json* node, Find(field));
    if (!node->is_string()) return Bad(field, absl::StrCat("is not a string but ", node->type_name()));
    return node->get<std::string>();
  }

  absl::StatusOr<std::string> NonEmptyText(const std::string& field) const {
    ASSIGN_OR_RETURN(std::string text, Text(field));
    if (text.empty()) return Bad(field, "is empty");
    return text;
  }

  // `count` 0: two or more.
  absl::StatusOr<std::vector<std::string>> Texts(const std::string& field, size_t count) const {
    ASSIGN_OR_RETURN(const json* node, Find(field));
    const bool strings = node->is_array() && std::all_of(node->begin(), node->end(),
                                                         [](const json& text) { return text.is_string(); });
    if (!strings) return Bad(field, "is not a list of strings");
    if (count == 0 ? node->size() < 2 : node->size() != count) {
      return Bad(field, absl::StrCat("has ", node->size(), " entries"));
    }
    return node->get<std::vector<std::string>>();
  }

  // A number or a string of digits in [first, first + count), less `first`.
  absl::StatusOr<int> Label(const std::string& field, int first, int count) const {
    ASSIGN_OR_RETURN(const json* node, Find(field));
    int64_t value = 0;
    const bool number = node->is_number_integer();
    if (number) value = node->get<int64_t>();
    if (!number && !(node->is_string() && absl::SimpleAtoi(node->get<std::string>(), &value))) {
      return Bad(field, absl::StrCat("is not a whole number: ", node->dump()));
    }
    if (value < first || value >= first + count) {
      return Bad(field, absl::StrCat("is ", value, ", not in ", first, "..", first + count - 1));
    }
    return static_cast<int>(value - first);
  }

 private:
  json object_;
  const std::string& file_;
  int64_t number_;
};

absl::StatusOr<BenchmarkItem> ReadWinogrande(const Line& line) {
  WinograndeItem item;
  ASSIGN_OR_RETURN(item.sentence, line.Text("sentence"));
  if (item.sentence.find('_') == std::string::npos) return line.Bad("sentence", "has no '_'");
  ASSIGN_OR_RETURN(item.options[0], line.Text("option1"));
  ASSIGN_OR_RETURN(item.options[1], line.Text("option2"));
  ASSIGN_OR_RETURN(item.answer, line.Label("answer", 1, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadCopa(const Line& line) {
  CopaItem item;
  ASSIGN_OR_RETURN(item.premise, line.NonEmptyText("premise"));
  ASSIGN_OR_RETURN(const std::string question, line.Text("question"));
  if (question != "cause" && question != "effect")
    return line.Bad("question", "is neither 'cause' nor 'effect'");
  item.asks_cause = question == "cause";
  ASSIGN_OR_RETURN(item.choices[0], line.NonEmptyText("choice1"));
  ASSIGN_OR_RETURN(item.choices[1], line.NonEmptyText("choice2"));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadOpenBookQa(const Line& line) {
  OpenBookQaItem item;
  ASSIGN_OR_RETURN(item.question_stem, line.Text("question_stem"));
  ASSIGN_OR_RETURN(item.choices, line.Texts("choices.text", 0));
  ASSIGN_OR_RETURN(const auto labels, line.Texts("choices.label", item.choices.size()));
  ASSIGN_OR_RETURN(const std::string answer, line.Text("answerKey"));
  const auto found = std::find(labels.begin(), labels.end(), PythonStripLeft(answer));
  if (found == labels.end()) return line.Bad("answerKey", "is not in choices.label: '" + answer + "'");
  item.answer = static_cast<int>(found - labels.begin());
  return item;
}

absl::StatusOr<BenchmarkItem> ReadHellaSwag(const Line& line) {
  HellaSwagItem item;
  ASSIGN_OR_RETURN(item.activity_label, line.Text("activity_label"));
  ASSIGN_OR_RETURN(item.ctx_a, line.Text("ctx_a"));
  ASSIGN_OR_RETURN(item.ctx_b, line.Text("ctx_b"));
  ASSIGN_OR_RETURN(item.endings, line.Texts("endings", 4));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 4));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadPiqa(const Line& line) {
  PiqaItem item;
  ASSIGN_OR_RETURN(item.goal, line.Text("goal"));
  ASSIGN_OR_RETURN(item.solutions[0], line.Text("sol1"));
  ASSIGN_OR_RETURN(item.solutions[1], line.Text("sol2"));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadMmlu(const Line& line) {
  MmluItem item;
  ASSIGN_OR_RETURN(item.question, line.Text("question"));
  ASSIGN_OR_RETURN(item.choices, line.Texts("choices", 4));
  ASSIGN_OR_RETURN(item.answer, line.Label("answer", 0, 4));
  ASSIGN_OR_RETURN(item.subject, line.NonEmptyText("subject"));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadItem(Benchmark benchmark, const Line& line) {
  switch (benchmark) {
    case Benchmark::kWinogrande:
      return ReadWinogrande(line);
    case Benchmark::kCopa:
      return ReadCopa(line);
    case Benchmark::kOpenBookQa:
      return ReadOpenBookQa(line);
    case Benchmark::kHellaSwag:
      return ReadHellaSwag(line);
    case Benchmark::kPiqa:
      return ReadPiqa(line);
    case Benchmark::kMmlu:
      return ReadMmlu(line);
  }
  return absl::InternalError("benchmark without a reader");
}

}  // namespace

absl::StatusOr<Benchmark> ParseBenchmark(std::string_view name) {
  for (size_t i = 0; i < std::size(kBenchmarks); ++i) {
    if (name == kBenchmarks[i].name) return static_cast<Benchmark>(i);
  }
  const std::string task(name);
  return MakeError(
      absl::StatusCode::kInvalidArgument, "TASK_UNKNOWN",
      "no benchmark is named '" + task + "'; there are winogrande, copa, openbookqa, hellaswag, piqa, mmlu",
      {{"task", task}});
}

const char* BenchmarkName(Benchmark benchmark) { return kBenchmarks[static_cast<size_t>(benchmark)].name; }

bool ReportsNormalizedAccuracy(Benchmark benchmark) {
  return kBenchmarks[static_cast<size_t>(benchmark)].normalized;
}

absl::StatusOr<std::vector<BenchmarkItem>> ReadItems(Benchmark benchmark, std::string_view jsonl,
                                                     const std::string& file) {
  std::vector<BenchmarkItem> items;
  int64_t number = 0;
  for (size_t begin = 0; begin < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', begin), jsonl.size());
    const std::string_view text = PythonStrip(jsonl.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (text.empty()) continue;
    json object = json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
    const bool valid = object.is_object();
    const Line line(std::move(object), file, number);
    if (!valid) return line.Bad("the line is not a JSON object");
    ASSIGN_OR_RETURN(BenchmarkItem item, ReadItem(benchmark, line));
    items.push_back(std::move(item));
  }
  if (items.empty()) return Line(json(), file, number).Bad("the file has no items");
  return items;
}

}  // namespace quantmoe
