// Every log-likelihood, choice and score equals what lm-evaluation-harness says of the same model
// (testdata/evaluate/harness/lm_eval.json, recorded by tests/quant/evaluate/record_lm_eval.py).
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "plan/model/model_config.h"
#include "quant/tasks/shard_scoring.h"
#include "sources/checkpoint.h"
#include "sources/model_sources.h"
#include "sources/model_uri.h"
#include "tests/quant/evaluate/evaluation_fixture.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// What f32 sums in another order may differ by.
constexpr double kTolerance = 1e-3;

const json& Record() {
  static const json* const record = new json(json::parse(ReadTestdata("evaluate/harness/lm_eval.json")));
  return *record;
}

class HarnessTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    const std::string path = std::filesystem::canonical(QUANTMOE_TESTDATA "/tiny-qwen2-moe").string();
    ASSERT_OK_AND_ASSIGN(std::shared_ptr<ModelDirectory> directory,
                         OpenModelDirectory({ModelUri::Scheme::kFile, path}));
    ASSERT_OK_AND_ASSIGN(checkpoint_, Checkpoint::Open(directory));
    ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(*directory->ReadAll("config.json")));
  }
  static void TearDownTestSuite() { checkpoint_.reset(); }

  EvalRequests Requests(const json& run) {
    EvalOptions options{std::nullopt, static_cast<int>(spec_.max_position)};
    if (!run.at("add_bos").is_null()) options.add_bos = run.at("add_bos").get<bool>();
    RequestBuilder builder(*tokenizer_, options);
    const std::string data = run.at("data"), fewshot = run.at("fewshot");
    EXPECT_OK(builder.AddTask(*ParseBenchmark(run.at("task").get<std::string>()), ReadTestdata(data), data,
                              fewshot.empty() ? "" : ReadTestdata(fewshot), fewshot,
                              static_cast<int64_t>(run.at("items").size())));
    return std::move(builder).Finish();
  }

  absl::StatusOr<EvalReport> Score(EvalRequests requests) {
    const c10::InferenceMode inference;
    CheckpointWeights weights(spec_, checkpoint_, at::kFloat);
    ScoreMerger merger;
    for (const EvalShard& shard : CutShards(std::move(requests))) {
      const auto scores = ScoreShard(shard, spec_, weights, [](int, int) { return absl::OkStatus(); });
      if (!scores.ok()) return scores.status();
      if (const absl::Status added = merger.Add(shard, *scores); !added.ok()) return added;
    }
    return merger.Finish();
  }

  static inline std::shared_ptr<Checkpoint> checkpoint_;
  static inline ModelSpec spec_;
  const std::unique_ptr<Tokenizer> tokenizer_ = TinyTokenizer();
};

int Best(const json& choices) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(choices.size()); ++i) {
    if (choices[i][0] > choices[best][0]) best = i;
  }
  return best;
}

void ExpectItem(const json& expected, const ItemScore& item, const std::string& where) {
  if (item.scoring == Scoring::kRolling) {
    EXPECT_NEAR(item.log_likelihood(), expected.at(0).at(0).get<double>(), kTolerance) << where;
    return;
  }
  ASSERT_EQ(item.choices.size(), expected.size()) << where;
  for (size_t c = 0; c < expected.size(); ++c) {
    EXPECT_NEAR(item.choices[c].log_likelihood, expected[c][0].get<double>(), kTolerance)
        << where << " " << c;
    EXPECT_EQ(item.choices[c].greedy, expected[c][1] == 1) << where << " " << c;
  }
  if (item.prediction) {
    EXPECT_EQ(*item.prediction, Best(expected)) << where;
  }
}

// Accuracies and their errors are exact; perplexities are as near as their log-likelihoods.
void ExpectScores(const json& expected, const json& actual, const std::string& where) {
  for (const auto& [metric, value] : expected.items()) {
    ASSERT_TRUE(actual.contains(metric)) << where << " " << metric;
    const double tolerance = metric.starts_with("acc") ? 1e-12 : 1e-5 * value.get<double>();
    EXPECT_NEAR(actual.at(metric).get<double>(), value.get<double>(), tolerance) << where << " " << metric;
  }
}

TEST_P(HarnessTest, EveryItemAndScoreIsTheHarnesses) {
  int runs = 0;
  for (const json& run : Record().at("runs")) {
    if (run.at("task") != GetParam()) continue;
    ++runs;
    const std::string where = run.at("data").get<std::string>() + " bos " + run.at("add_bos").dump();
    ASSERT_OK_AND_ASSIGN(const EvalReport report, Score(Requests(run)));
    ASSERT_EQ(report.items.size(), run.at("items").size()) << where;
    for (size_t i = 0; i < report.items.size(); ++i) {
      ExpectItem(run.at("items")[i], report.items[i], where + " item " + std::to_string(i));
    }
    const json scores = json::parse(ScoresToJson(report)).at("tasks").at(GetParam());
    ExpectScores(run.at("scores"), scores, where);
    for (const char* parts : {"groups", "categories"}) {
      if (!run.contains(parts)) continue;
      for (const auto& [name, part] : run.at(parts).items()) {
        ExpectScores(part, scores.at(parts).at(name), where + " " + name);
      }
    }
  }
  EXPECT_GE(runs, 2);
}

INSTANTIATE_TEST_SUITE_P(Tasks, HarnessTest,
                         ::testing::Values("winogrande", "copa", "openbookqa", "hellaswag", "piqa", "mmlu",
                                           "arc_easy", "arc_challenge", "boolq", "lambada_openai",
                                           "wikitext"),
                         [](const auto& task) { return std::string(task.param); });

TEST_F(HarnessTest, CopaHasTwoSpacesBeforeTheChoice) {
  for (const json& run : Record().at("runs")) {
    if (run.at("task") != "copa" || run.at("data") != "tasks/copa.jsonl") continue;
    EXPECT_EQ(run.at("request"), json({"Muvus stayed in bed because", "  he left the cage open."}));
    EXPECT_EQ(run.at("scores").at("acc"), 0.9125);
  }
}

TEST_F(HarnessTest, LongItemsAreCutAndCounted) {
  for (const json& run : Record().at("runs")) {
    if (run.at("task") != "boolq") continue;
    EXPECT_EQ(Requests(run).truncated, 2);  // one item, two choices
  }
}

}  // namespace
}  // namespace quantmoe
