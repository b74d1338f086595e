#include "quant/evaluate/scores.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"

namespace quantmoe {
namespace {

EvalTarget Choice(int task, int64_t item, int choice, int gold, int64_t length,
                  const std::string& group = "") {
  EvalTarget target;
  target.tokens = {5};
  target.task = task;
  target.item = item;
  target.choice = choice;
  target.choices = 2;
  target.gold = gold;
  target.length = length;
  target.group = group;
  return target;
}

EvalShard TwoChoices() {
  EvalShard shard;
  shard.tasks = {{"piqa", Scoring::kNormalizedAccuracy}};
  shard.sequences = {{{1}, {Choice(0, 0, 0, 1, 2), Choice(0, 0, 1, 1, 10)}}};
  return shard;
}

TEST(ScoresTest, LengthNormalizationMayChangeTheAnswer) {
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(TwoChoices(), {{-4.0, false}, {-5.0, true}}).ok());
  const auto report = merger.Finish();
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->tasks[0].acc->value, 0);
  EXPECT_EQ(report->tasks[0].acc_norm->value, 1);
  EXPECT_EQ(report->tasks[0].acc->standard_error, 0) << "one item has no spread";
}

TEST(ScoresTest, TiesGoToTheFirstChoice) {
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(TwoChoices(), {{-4.0, false}, {-4.0, false}}).ok());
  EXPECT_EQ(merger.Finish()->items[0].prediction, 0);
}

TEST(ScoresTest, ChoicesOfAnItemMayComeFromDifferentShards) {
  EvalShard first = TwoChoices();
  EvalShard second = TwoChoices();
  first.sequences[0].targets.pop_back();
  second.sequences[0].targets.erase(second.sequences[0].targets.begin());
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(first, {{-4.0, false}}).ok());
  EXPECT_EQ(GetErrorInfo(merger.Finish().status()).reason, "EVALUATION_BLOB_INVALID")
      << "a choice is missing";
  ASSERT_TRUE(merger.Add(second, {{-3.0, false}}).ok());
  EXPECT_EQ(merger.Finish()->tasks[0].acc->value, 1);
  EXPECT_EQ(GetErrorInfo(merger.Add(second, {{-3.0, false}})).reason, "EVALUATION_BLOB_INVALID") << "twice";
}

TEST(ScoresTest, GroupsPoolTheirErrors) {
  EvalShard shard;
  shard.tasks = {{"mmlu", Scoring::kAccuracy}};
  ShardScores scores;
  const int golds[] = {0, 1, 0, 0, 1, 0};  // the first choice always wins
  for (int i = 0; i < 6; ++i) {
    const std::string group = i < 4 ? "law" : "art";
    shard.sequences.push_back(
        {{1}, {Choice(0, i, 0, golds[i], 1, group), Choice(0, i, 1, golds[i], 1, group)}});
    scores.insert(scores.end(), {{-1.0, true}, {-2.0, false}});
  }
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(shard, scores).ok());
  const TaskScore task = merger.Finish()->tasks[0];
  EXPECT_DOUBLE_EQ(task.acc->value, 4.0 / 6);
  EXPECT_DOUBLE_EQ(task.groups.at("law").acc.value, 0.75);
  EXPECT_DOUBLE_EQ(task.groups.at("law").acc.standard_error, 0.25);  // sqrt(3/4 * 1/4 / 3)
  EXPECT_DOUBLE_EQ(task.groups.at("art").acc.standard_error, 0.5);
  // ((4-1) 0.25^2 4 + (2-1) 0.5^2 2) / (6-2) / 6
  EXPECT_DOUBLE_EQ(task.acc->standard_error, std::sqrt(1.25 / 4 / 6));
}

TEST(ScoresTest, PerplexityIsOverAllScoredTokens) {
  EvalShard shard;
  shard.tasks = {{kPerplexityTask, Scoring::kWindows}};
  for (int w = 0; w < 2; ++w) {
    EvalTarget target;
    target.item = w;
    target.tokens = std::vector<int32_t>(w == 0 ? 3 : 1, 4);
    shard.sequences.push_back({{1, 2, 3}, {target}});
  }
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(shard, {{-6.0, false}, {-2.0, false}}).ok());
  const auto report = merger.Finish();
  EXPECT_DOUBLE_EQ(report->perplexity->value, std::exp(2.0));
  const auto json = nlohmann::json::parse(ScoresToJson(*report));
  EXPECT_EQ(json.at("perplexity").at("tokens"), 4);
  EXPECT_EQ(json.at("perplexity").at("windows"), 2);
  EXPECT_TRUE(json.at("tasks").empty());
}

TEST(ScoresTest, PublishedSubjectsFallIntoCategories) {
  EvalShard shard;
  shard.tasks = {{"mmlu", Scoring::kAccuracy}};
  ShardScores scores;
  const char* const subjects[] = {"anatomy", "astronomy", "sociology", "home_made"};
  for (int i = 0; i < 8; ++i) {
    const int gold = i == 0 ? 0 : 1;  // the first choice always wins
    shard.sequences.push_back(
        {{1}, {Choice(0, i, 0, gold, 1, subjects[i / 2]), Choice(0, i, 1, gold, 1, subjects[i / 2])}});
    scores.insert(scores.end(), {{-1.0, true}, {-2.0, false}});
  }
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(shard, scores).ok());
  const TaskScore task = merger.Finish()->tasks[0];
  ASSERT_EQ(task.categories.size(), 2u);
  EXPECT_EQ(task.categories.at("stem").items, 4);
  EXPECT_DOUBLE_EQ(task.categories.at("stem").acc.value, 0.25);
  EXPECT_DOUBLE_EQ(task.categories.at("stem").acc.standard_error, std::sqrt(0.5 / 2 / 4));
  EXPECT_EQ(task.categories.at("social_sciences").acc.value, 0);
}

TEST(ScoresTest, LikelihoodsThatAreNotFiniteAreRefused) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    ScoreMerger merger;
    const absl::Status status = merger.Add(TwoChoices(), {{-4.0, false}, {bad, false}});
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetErrorInfo(status).reason, "EVALUATION_NOT_FINITE");
    EXPECT_EQ(GetErrorInfo(status).metadata.at("item"), "0");
  }
}

TEST(ScoresTest, ScoresMustBelongToTheShard) {
  ScoreMerger merger;
  EXPECT_FALSE(merger.Add(TwoChoices(), {{-4.0, false}}).ok());
  EXPECT_FALSE(ScoreMerger().Add(TwoChoices(), {{-4.0, false}, {-4.0, false}, {-4.0, false}}).ok());
}

TEST(ScoresTest, ResultBlobsKeepEveryBit) {
  const ShardScores scores = {
      {-1.0 / 3, true}, {-0.0, false}, {-1e-310, false}, {-1234567.890123456789, true}};
  const std::string bytes = SerializeScores(scores);
  EXPECT_EQ(bytes.size(), 16u + 9 * scores.size());
  EXPECT_EQ(*ParseScores(bytes), scores);
  EXPECT_EQ(SerializeScores(*ParseScores(bytes)), bytes);
  for (const size_t cut : {size_t{0}, size_t{15}, bytes.size() - 1}) {
    EXPECT_EQ(GetErrorInfo(ParseScores(bytes.substr(0, cut)).status()).reason, "EVALUATION_BLOB_INVALID");
  }
}

TEST(ScoresTest, ItemsAreOneJsonObjectALine) {
  ScoreMerger merger;
  ASSERT_TRUE(merger.Add(TwoChoices(), {{-4.0, false}, {-5.0, true}}).ok());
  const auto line = nlohmann::json::parse(ItemsToJsonLines(*merger.Finish()));
  EXPECT_EQ(line, nlohmann::json::parse(R"({"task": "piqa", "item": 0, "gold": 1, "prediction": 0,
    "prediction_norm": 1, "correct": false, "log_likelihoods": [-4.0, -5.0], "greedy": [false, true],
    "tokens": [1, 1]})"));
}

}  // namespace
}  // namespace quantmoe
