#include "quant/evaluate/datasets.h"

#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/quant/evaluate/evaluation_fixture.h"

namespace quantmoe {
namespace {

void ExpectBad(Benchmark benchmark, const std::string& text, const std::string& line,
               const std::string& field) {
  const auto items = ReadItems(benchmark, text, "data.jsonl");
  ASSERT_FALSE(items.ok()) << text;
  const ErrorInfo info = GetErrorInfo(items.status());
  EXPECT_EQ(info.reason, "TASK_DATA_INVALID");
  EXPECT_EQ(info.metadata.at("file"), "data.jsonl");
  EXPECT_EQ(info.metadata.at("line"), line) << items.status().ToString();
  EXPECT_EQ(info.metadata.at("field"), field) << items.status().ToString();
}

TEST(DatasetsTest, ReadsTheTinyTasks) {
  for (const char* name : {"winogrande", "copa", "openbookqa", "hellaswag", "piqa", "mmlu"}) {
    const auto items =
        ReadItems(*ParseBenchmark(name), ReadTestdata(std::string("tasks/") + name + ".jsonl"), name);
    ASSERT_TRUE(items.ok()) << items.status().ToString();
    EXPECT_EQ(items->size(), 400u);
  }
}

TEST(DatasetsTest, LabelsMayBeStrings) {
  for (const char* label : {"1", "\"1\""}) {
    const auto items =
        ReadItems(Benchmark::kPiqa,
                  R"({"goal": "g", "sol1": "a", "sol2": "b", "label": )" + std::string(label) + "}", "f");
    ASSERT_TRUE(items.ok()) << items.status().ToString();
    EXPECT_EQ(std::get<PiqaItem>(items->at(0)).label, 1);
  }
}

TEST(DatasetsTest, NamesFileLineAndField) {
  const std::string good = R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 0})"
                           "\n\n";
  ExpectBad(Benchmark::kPiqa, good + R"({"goal": "g", "sol1": "a", "label": 0})", "3", "sol2");
  ExpectBad(Benchmark::kPiqa, R"({"goal": 3, "sol1": "a", "sol2": "b", "label": 0})", "1", "goal");
  ExpectBad(Benchmark::kPiqa, R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 2})", "1", "label");
  ExpectBad(Benchmark::kPiqa, R"({"goal": "g", "sol1": "a", "sol2": "b", "label": ""})", "1", "label");
  ExpectBad(Benchmark::kPiqa, good + "{", "3", "");
  ExpectBad(Benchmark::kPiqa, "[]", "1", "");
  ExpectBad(Benchmark::kWinogrande, R"({"sentence": "no blank"})", "1", "sentence");
  ExpectBad(Benchmark::kCopa, R"({"premise": "p.", "question": "why"})", "1", "question");
  ExpectBad(Benchmark::kCopa, R"({"premise": "p.", "question": "cause", "choice1": ""})", "1", "choice1");
  ExpectBad(Benchmark::kOpenBookQa, R"({"question_stem": "q", "choices": {"text": ["a", "b"]}})", "1",
            "choices.label");
  ExpectBad(
      Benchmark::kOpenBookQa,
      R"({"question_stem": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"})",
      "1", "answerKey");
  const std::string arc =
      R"({"question": "q", "choices": {"text": ["a", ""], "label": ["A", "B"]}, "answerKey": "A"})";
  ExpectBad(Benchmark::kArcEasy, arc, "1", "choices.text");
  ExpectBad(Benchmark::kPiqa, R"({"goal": "g", "sol1": "", "sol2": "b", "label": 0})", "1", "sol1");
  ExpectBad(Benchmark::kBoolQ, R"({"passage": "p", "question": "q", "label": "yes"})", "1", "label");
  ExpectBad(Benchmark::kLambada, R"({"text": ""})", "1", "text");
  ExpectBad(Benchmark::kWikiText, R"({"text": "a"})", "1", "page");
  ExpectBad(Benchmark::kMmlu, R"({"question": "q", "choices": ["a", "b", "c"]})", "1", "choices");
}

TEST(DatasetsTest, RefusesAnEmptyFile) {
  ExpectBad(Benchmark::kPiqa, "", "0", "");
  ExpectBad(Benchmark::kPiqa, "\n \n", "2", "");
}

TEST(DatasetsTest, RefusesUnknownBenchmarksAndListsTheKnown) {
  const absl::Status status = ParseBenchmark("squad").status();
  EXPECT_EQ(GetErrorInfo(status).reason, "TASK_UNKNOWN");
  for (const char* name : {"winogrande", "arc_challenge", "lambada_openai", "wikitext"}) {
    EXPECT_NE(status.message().find(name), absl::string_view::npos) << status.ToString();
  }
}

TEST(DatasetsTest, LimitKeepsTheFirstItems) {
  const std::string jsonl = ReadTestdata("tasks/piqa.jsonl");
  const auto all = ReadItems(Benchmark::kPiqa, jsonl, "f"),
             three = ReadItems(Benchmark::kPiqa, jsonl, "f", 3);
  ASSERT_TRUE(all.ok() && three.ok());
  ASSERT_EQ(three->size(), 3u);
  EXPECT_EQ(std::get<PiqaItem>(three->at(2)).goal, std::get<PiqaItem>(all->at(2)).goal);
  EXPECT_EQ(ReadItems(Benchmark::kPiqa, jsonl, "f", 1000)->size(), all->size());
}

template <typename Item>
void ExpectSameItems(Benchmark benchmark, const std::string& name) {
  const auto lines = ReadItems(benchmark, ReadTestdata("evaluate/harness/" + name + ".jsonl"), name);
  const auto parquet = ReadItems(benchmark, ReadTestdata("evaluate/harness/" + name + ".parquet"), name);
  ASSERT_TRUE(lines.ok()) << lines.status().ToString();
  ASSERT_TRUE(parquet.ok()) << parquet.status().ToString();
  ASSERT_EQ(lines->size(), parquet->size());
  for (size_t i = 0; i < lines->size(); ++i) {
    EXPECT_EQ(std::get<Item>(lines->at(i)), std::get<Item>(parquet->at(i))) << name << " " << i;
  }
}

TEST(DatasetsTest, ParquetHoldsTheSameItems) {
  ExpectSameItems<ArcItem>(Benchmark::kArcEasy, "arc_easy");
  ExpectSameItems<BoolQItem>(Benchmark::kBoolQ, "boolq");
  ExpectSameItems<MmluItem>(Benchmark::kMmlu, "mmlu");
}

TEST(DatasetsTest, ParquetWithoutAColumnNamesItAndThoseItHas) {
  const auto items = ReadItems(Benchmark::kPiqa, ReadTestdata("evaluate/harness/boolq.parquet"), "b.parquet");
  const ErrorInfo info = GetErrorInfo(items.status());
  EXPECT_EQ(info.reason, "TASK_DATA_INVALID");
  EXPECT_EQ(info.metadata.at("field"), "goal");
  EXPECT_NE(items.status().message().find("question, passage, idx, label"), absl::string_view::npos)
      << items.status().ToString();
}

TEST(DatasetsTest, ParquetOfAnotherTypeNamesRowAndField) {
  ExpectBad(Benchmark::kMmlu, ReadTestdata("evaluate/harness/mmlu_bad.parquet"), "2", "answer");
}

TEST(DatasetsTest, BrokenParquetIsRefused) {
  const std::string whole = ReadTestdata("evaluate/harness/boolq.parquet");
  for (const size_t size : {size_t{4}, whole.size() / 2, whole.size() - 1}) {
    const auto items = ReadItems(Benchmark::kBoolQ, whole.substr(0, size), "b.parquet");
    EXPECT_EQ(GetErrorInfo(items.status()).reason, "TASK_DATA_INVALID") << size;
    EXPECT_NE(items.status().message().find("b.parquet"), absl::string_view::npos);
  }
}

TEST(DatasetsTest, ParquetMustHoldThePublishedSplit) {
  const std::string parquet = ReadTestdata("evaluate/harness/boolq.parquet");
  const absl::Status status = CheckPublishedSize(Benchmark::kBoolQ, parquet, "b.parquet", 20);
  EXPECT_EQ(GetErrorInfo(status).reason, "TASK_SIZE_MISMATCH");
  EXPECT_EQ(GetErrorInfo(status).metadata.at("items"), "20");
  EXPECT_EQ(GetErrorInfo(status).metadata.at("published"), "3270");
  EXPECT_TRUE(CheckPublishedSize(Benchmark::kBoolQ, parquet, "b.parquet", 3270).ok());
  EXPECT_TRUE(CheckPublishedSize(Benchmark::kBoolQ, "{}", "b.jsonl", 20).ok());
}

}  // namespace
}  // namespace quantmoe
