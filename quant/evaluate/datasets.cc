#include "quant/evaluate/datasets.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/data_rows.h"
#include "quant/evaluate/python_strings.h"

namespace quantmoe {
namespace {

struct BenchmarkFacts {
  const char* name;
  Scoring scoring;
  int64_t published;
  std::vector<std::string> columns;  // that a Parquet file must have
};

// In the order of the enumeration.
const std::vector<BenchmarkFacts>& Facts() {
  static const auto* const kFacts = new std::vector<BenchmarkFacts>{
      {"winogrande", Scoring::kAccuracy, 1267, {"sentence", "option1", "option2", "answer"}},
      {"copa", Scoring::kAccuracy, 100, {"premise", "question", "choice1", "choice2", "label"}},
      {"openbookqa", Scoring::kNormalizedAccuracy, 500, {"question_stem", "choices", "answerKey"}},
      {"hellaswag",
       Scoring::kNormalizedAccuracy,
       10042,
       {"activity_label", "ctx_a", "ctx_b", "endings", "label"}},
      {"piqa", Scoring::kNormalizedAccuracy, 1838, {"goal", "sol1", "sol2", "label"}},
      {"mmlu", Scoring::kAccuracy, 14042, {"question", "choices", "answer", "subject"}},
      {"arc_easy", Scoring::kNormalizedAccuracy, 2376, {"question", "choices", "answerKey"}},
      {"arc_challenge", Scoring::kNormalizedAccuracy, 1172, {"question", "choices", "answerKey"}},
      {"boolq", Scoring::kAccuracy, 3270, {"passage", "question", "label"}},
      {"lambada_openai", Scoring::kLastWord, 5153, {"text"}},
      {"wikitext", Scoring::kRolling, 62, {"page"}}};
  return *kFacts;
}

const BenchmarkFacts& FactsOf(Benchmark benchmark) { return Facts()[static_cast<size_t>(benchmark)]; }

absl::StatusOr<BenchmarkItem> ReadWinogrande(const DataRow& line) {
  WinograndeItem item;
  ASSIGN_OR_RETURN(item.sentence, line.Text("sentence"));
  if (item.sentence.find('_') == std::string::npos) return line.Bad("sentence", "has no '_'");
  ASSIGN_OR_RETURN(item.options[0], line.Text("option1"));
  ASSIGN_OR_RETURN(item.options[1], line.Text("option2"));
  ASSIGN_OR_RETURN(item.answer, line.Label("answer", 1, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadCopa(const DataRow& line) {
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

struct LetteredChoices {
  std::vector<std::string> texts;
  int answer;
};

// "choices" of texts and labels, and "answerKey", one of the labels.
absl::StatusOr<LetteredChoices> ReadLetteredChoices(const DataRow& line, bool strip_key) {
  LetteredChoices choices;
  ASSIGN_OR_RETURN(choices.texts, line.Texts("choices.text", 0));
  ASSIGN_OR_RETURN(const auto labels, line.Texts("choices.label", choices.texts.size()));
  ASSIGN_OR_RETURN(const std::string answer, line.Text("answerKey"));
  const std::string_view key = strip_key ? PythonStripLeft(answer) : answer;
  const auto found = std::find(labels.begin(), labels.end(), key);
  if (found == labels.end()) return line.Bad("answerKey", "is not in choices.label: '" + answer + "'");
  choices.answer = static_cast<int>(found - labels.begin());
  return choices;
}

absl::StatusOr<BenchmarkItem> ReadOpenBookQa(const DataRow& line) {
  ASSIGN_OR_RETURN(std::string stem, line.Text("question_stem"));
  ASSIGN_OR_RETURN(LetteredChoices choices, ReadLetteredChoices(line, /*strip_key=*/true));
  return OpenBookQaItem{std::move(stem), std::move(choices.texts), choices.answer};
}

absl::StatusOr<BenchmarkItem> ReadArc(const DataRow& line) {
  ASSIGN_OR_RETURN(std::string question, line.Text("question"));
  ASSIGN_OR_RETURN(LetteredChoices choices, ReadLetteredChoices(line, /*strip_key=*/false));
  return ArcItem{std::move(question), std::move(choices.texts), choices.answer};
}

absl::StatusOr<BenchmarkItem> ReadBoolQ(const DataRow& line) {
  BoolQItem item;
  ASSIGN_OR_RETURN(item.passage, line.Text("passage"));
  ASSIGN_OR_RETURN(item.question, line.Text("question"));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadLambada(const DataRow& line) {
  LambadaItem item;
  ASSIGN_OR_RETURN(item.text, line.NonEmptyText("text"));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadWikiText(const DataRow& line) {
  WikiTextItem item;
  ASSIGN_OR_RETURN(item.page, line.NonEmptyText("page"));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadHellaSwag(const DataRow& line) {
  HellaSwagItem item;
  ASSIGN_OR_RETURN(item.activity_label, line.Text("activity_label"));
  ASSIGN_OR_RETURN(item.ctx_a, line.Text("ctx_a"));
  ASSIGN_OR_RETURN(item.ctx_b, line.Text("ctx_b"));
  ASSIGN_OR_RETURN(item.endings, line.Texts("endings", 4));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 4));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadPiqa(const DataRow& line) {
  PiqaItem item;
  ASSIGN_OR_RETURN(item.goal, line.Text("goal"));
  ASSIGN_OR_RETURN(item.solutions[0], line.NonEmptyText("sol1"));
  ASSIGN_OR_RETURN(item.solutions[1], line.NonEmptyText("sol2"));
  ASSIGN_OR_RETURN(item.label, line.Label("label", 0, 2));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadMmlu(const DataRow& line) {
  MmluItem item;
  ASSIGN_OR_RETURN(item.question, line.Text("question"));
  ASSIGN_OR_RETURN(item.choices, line.Texts("choices", 4));
  ASSIGN_OR_RETURN(item.answer, line.Label("answer", 0, 4));
  ASSIGN_OR_RETURN(item.subject, line.NonEmptyText("subject"));
  return item;
}

absl::StatusOr<BenchmarkItem> ReadItem(Benchmark benchmark, const DataRow& line) {
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
    case Benchmark::kArcEasy:
    case Benchmark::kArcChallenge:
      return ReadArc(line);
    case Benchmark::kBoolQ:
      return ReadBoolQ(line);
    case Benchmark::kLambada:
      return ReadLambada(line);
    case Benchmark::kWikiText:
      return ReadWikiText(line);
  }
  return absl::InternalError("benchmark without a reader");
}

}  // namespace

absl::StatusOr<Benchmark> ParseBenchmark(std::string_view name) {
  std::string known;
  for (size_t i = 0; i < Facts().size(); ++i) {
    if (name == Facts()[i].name) return static_cast<Benchmark>(i);
    absl::StrAppend(&known, i == 0 ? "" : ", ", Facts()[i].name);
  }
  const std::string task(name);
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_UNKNOWN",
                   absl::StrCat("no benchmark is named '", task, "'; there are ", known), {{"task", task}});
}

const char* BenchmarkName(Benchmark benchmark) { return FactsOf(benchmark).name; }

Scoring ScoringOf(Benchmark benchmark) { return FactsOf(benchmark).scoring; }

int64_t PublishedItems(Benchmark benchmark) { return FactsOf(benchmark).published; }

absl::StatusOr<std::vector<BenchmarkItem>> ReadItems(Benchmark benchmark, std::string_view bytes,
                                                     const std::string& file, int64_t limit) {
  ASSIGN_OR_RETURN(const std::vector<DataRow> rows,
                   IsParquet(bytes) ? ReadParquetRows(bytes, FactsOf(benchmark).columns, file)
                                    : ReadJsonRows(bytes, file));
  std::vector<BenchmarkItem> items;
  for (const DataRow& row : rows) {
    if (limit > 0 && static_cast<int64_t>(items.size()) == limit) break;
    ASSIGN_OR_RETURN(BenchmarkItem item, ReadItem(benchmark, row));
    items.push_back(std::move(item));
  }
  return items;
}

absl::Status CheckPublishedSize(Benchmark benchmark, std::string_view bytes, const std::string& file,
                                size_t items) {
  const int64_t published = PublishedItems(benchmark);
  if (!IsParquet(bytes) || static_cast<int64_t>(items) == published) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_SIZE_MISMATCH",
                   absl::StrCat(file, ": the file has ", items, " items, but the published split of ",
                                BenchmarkName(benchmark), " has ", published,
                                "; score a part of it with --limit, or as JSON lines"),
                   {{"file", file}, {"items", absl::StrCat(items)}, {"published", absl::StrCat(published)}});
}

}  // namespace quantmoe
