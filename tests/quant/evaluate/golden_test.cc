// Prompts, token splits and scores equal those of an independent script (testdata/evaluate/make_expected.py).
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "quant/evaluate/scores.h"
#include "tests/quant/evaluate/evaluation_fixture.h"

namespace quantmoe {
namespace {

using nlohmann::json;

std::vector<Prompt> PromptsOf(const json& run) {
  const Benchmark benchmark = *ParseBenchmark(run.at("task").get<std::string>());
  auto items = ReadItems(benchmark, ReadTestdata(run.at("data")), run.at("data"));
  EXPECT_TRUE(items.ok()) << items.status().ToString();
  items->resize(run.at("items").get<size_t>());
  std::vector<BenchmarkItem> shots;
  if (run.at("fewshot") != "")
    shots = *ReadItems(benchmark, ReadTestdata(run.at("fewshot")), run.at("fewshot"));
  auto prompts = MakePrompts(benchmark, *items, shots);
  EXPECT_TRUE(prompts.ok()) << prompts.status().ToString();
  return *std::move(prompts);
}

EvalOptions OptionsOf(const json& run) {
  EvalOptions options;
  if (!run.at("add_bos").is_null()) options.add_bos = run.at("add_bos").get<bool>();
  options.max_length = run.at("max_length").get<int>();
  return options;
}

TEST(EvaluateGoldenTest, PromptsAreTheHarnesses) {
  const json runs = json::parse(ReadTestdata("evaluate/requests.json"));
  ASSERT_GE(runs.size(), 20u);
  for (const json& run : runs) {
    size_t next = 0;
    for (const Prompt& prompt : PromptsOf(run)) {
      for (int choice = 0; choice < prompt.choices(); ++choice, ++next) {
        const json& expected = run.at("requests").at(next);
        EXPECT_EQ(prompt.context(choice), expected.at("ctx").get<std::string>()) << run.at("data");
        EXPECT_EQ(prompt.continuation(choice), expected.at("cont").get<std::string>()) << run.at("data");
      }
    }
    EXPECT_EQ(next, run.at("requests").size());
  }
}

TEST(EvaluateGoldenTest, RequestsAreTheHarnesses) {
  const auto tokenizer = TinyTokenizer();
  int64_t all_truncated = 0;
  for (const json& run : json::parse(ReadTestdata("evaluate/requests.json"))) {
    RequestBuilder builder(*tokenizer, OptionsOf(run));
    const absl::Status status =
        builder.AddTask(*ParseBenchmark(run.at("task").get<std::string>()), PromptsOf(run));
    ASSERT_TRUE(status.ok()) << status.ToString();
    const EvalRequests requests = std::move(builder).Finish();
    std::map<std::pair<int64_t, int>, json> found;
    for (const EvalSequence& sequence : requests.sequences) {
      for (const EvalTarget& target : sequence.targets) {
        found[{target.item, target.choice}] = {
            {"ids", sequence.ids}, {"start", target.start}, {"tokens", target.tokens}};
      }
    }
    ASSERT_EQ(found.size(), run.at("requests").size());
    int64_t truncated = 0;
    auto next = found.begin();
    for (const json& expected : run.at("requests")) {
      for (const char* key : {"ids", "start", "tokens"}) {
        EXPECT_EQ(next->second.at(key), expected.at(key)) << run.at("data") << " " << expected.at("ctx");
      }
      truncated += expected.at("truncated").get<bool>();
      ++next;
    }
    EXPECT_EQ(requests.truncated, truncated);
    all_truncated += truncated;
  }
  EXPECT_GT(all_truncated, 0);
}

TEST(EvaluateGoldenTest, ScoresAreTheHarnesses) {
  const auto tokenizer = TinyTokenizer();
  EvalOptions options;
  options.add_bos = true;
  RequestBuilder builder(*tokenizer, options);
  const json expected = json::parse(ReadTestdata("evaluate/scores.json"));
  for (const auto& [name, unused] : expected.items()) {
    const absl::Status status =
        builder.AddTask(*ParseBenchmark(name), ReadTestdata("tasks/" + name + ".jsonl"), name, "", "");
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  ScoreMerger merger;
  for (const EvalShard& shard : CutShards(std::move(builder).Finish())) {
    ShardScores scores;
    for (const EvalSequence& sequence : shard.sequences) {
      for (const EvalTarget& target : sequence.targets) {
        const int64_t step = (7 * target.item + 13 * target.choice) % 17;
        scores.push_back({-static_cast<double>(step) / 4 - 0.25, false});
      }
    }
    ASSERT_TRUE(merger.Add(*ParseShard(SerializeShard(shard)), *ParseScores(SerializeScores(scores))).ok());
  }
  const auto report = merger.Finish();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  const json actual = json::parse(ScoresToJson(*report)).at("tasks");
  ASSERT_EQ(actual.size(), expected.size());
  const json flat_actual = actual.flatten();
  const json flat_expected = expected.flatten();
  ASSERT_EQ(flat_actual.size(), flat_expected.size());
  for (const auto& [path, value] : flat_expected.items()) {
    EXPECT_NEAR(flat_actual.at(path).get<double>(), value.get<double>(), 1e-12) << path;
  }
}

}  // namespace
}  // namespace quantmoe
