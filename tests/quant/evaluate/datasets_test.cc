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
  ExpectBad(Benchmark::kMmlu, R"({"question": "q", "choices": ["a", "b", "c"]})", "1", "choices");
}

TEST(DatasetsTest, RefusesAnEmptyFile) {
  ExpectBad(Benchmark::kPiqa, "", "0", "");
  ExpectBad(Benchmark::kPiqa, "\n \n", "2", "");
}

TEST(DatasetsTest, RefusesUnknownBenchmarks) {
  EXPECT_EQ(GetErrorInfo(ParseBenchmark("squad").status()).reason, "TASK_UNKNOWN");
}

}  // namespace
}  // namespace quantmoe
