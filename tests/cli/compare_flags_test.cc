#include "cli/compare_flags.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "base/error_info.h"
#include "tests/support/pipe.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CompareFlagsTest : public ::testing::TestWithParam<bool> {
 protected:
  absl::StatusOr<std::vector<ComparedSpec>> Read(std::vector<std::string> arguments, bool with_model = true) {
    if (with_model && GetParam()) arguments.insert(arguments.end(), {"--model", "/m"});
    if (with_model && !GetParam()) arguments.insert(arguments.begin(), "/m");
    CLI::App app;
    CompareFlags flags;
    AddCompareFlags(app, flags);
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return ReadComparedSpecs(flags, LeaveFile);
  }
  // "uniform at 2.5 bits".
  std::vector<std::string> Titles(const std::vector<std::string>& arguments) {
    const absl::StatusOr<std::vector<ComparedSpec>> specs = Read(arguments);
    EXPECT_THAT(specs, IsOk());
    std::vector<std::string> titles;
    for (const ComparedSpec& spec : specs.value())
      titles.push_back(absl::StrCat(spec.heuristic, " at ", spec.title));
    return titles;
  }

  TemporaryDirectory files_;
};

TEST_P(CompareFlagsTest, EveryHeuristicSpendsEveryBudgetAndAControlJoinsWhereNoWidthFillsIt) {
  EXPECT_THAT(Titles({"--bits", "3.0,2.50", "--bytes", "4MB", "--heuristics", "uniform"}),
              ElementsAre("uniform at 3 bits", "uniform at 2.5 bits", "in-order at 2.5 bits",
                          "uniform at 4MB", "in-order at 4MB"));
  EXPECT_THAT(Titles({"--budgets", "3,400MB", "--heuristics", "uniform", "--no-control"}),
              ElementsAre("uniform at 3 bits", "uniform at 400MB"));
  EXPECT_THAT(Titles({"--bits", "3", "--widths", "2,8", "--heuristics", "uniform"}),
              ElementsAre("uniform at 3 bits", "in-order at 3 bits"));
  EXPECT_THAT(Titles({"--stored-bits", "3", "--heuristics", "optimal"}),
              ElementsAre("optimal at 3 stored bits"));
}

TEST_P(CompareFlagsTest, ParametersOfOneHeuristicAreNotThoseOfTheOthers) {
  ASSERT_OK_AND_ASSIGN(const auto specs,
                       Read({"--bits", "3", "--heuristics", "random:seed=1:scope=layer,optimal", "--param",
                             "objective=block"}));
  EXPECT_EQ(specs[0].input.spec.heuristic, "random");
  EXPECT_EQ(specs[0].input.spec.heuristic_params.size(), 3u);
  EXPECT_EQ(specs[1].input.spec.heuristic_params.size(), 1u);
  EXPECT_EQ(specs[1].budget, "3");
  EXPECT_EQ(specs[1].input.spec.budget.average_bits, 3);
}

TEST_P(CompareFlagsTest, HeuristicPresetAndBudgetOfAJobFileArePassedOver) {
  const std::string file = files_.Write("job.yaml",
                                        "model: {uri: /of-file}\nbudget: {max_bytes: 1GiB}\n"
                                        "heuristic: {name: random, params: {seed: 4}}\ngptq: {damp: 0.5}\n");
  ASSERT_OK_AND_ASSIGN(const auto specs, Read({"-f", file, "--bits", "3"}, /*with_model=*/false));
  ASSERT_EQ(specs.size(), 2u);
  for (const ComparedSpec& one : specs) {
    EXPECT_EQ(one.input.spec.model_uri, "/of-file");
    EXPECT_EQ(one.input.spec.gptq.damp, 0.5);
    EXPECT_EQ(one.input.spec.budget.average_bits, 3);
    EXPECT_FALSE(one.input.spec.budget.max_bytes.has_value());
    EXPECT_THAT(one.input.spec.heuristic_params, IsEmpty());
    EXPECT_EQ(one.input.spec.heuristic, one.heuristic);
  }
}

TEST_P(CompareFlagsTest, WhatIsWrongIsNamedTogetherAndOnce) {
  const absl::Status status =
      Read({"--bits", "3,3.0", "--heuristics", "optimal,optimal", "--damp", "x", "--bytes", "lots"}).status();
  std::vector<std::string> problems;
  for (const FieldViolation& violation : GetErrorInfo(status).violations)
    problems.push_back(absl::StrCat(violation.field, ": ", violation.description));
  EXPECT_THAT(problems, testing::Contains("--heuristics: 'optimal' is given twice"));
  EXPECT_THAT(problems, testing::Contains("--bits: '3.0' is given twice"));
  EXPECT_THAT(problems, testing::Contains(HasSubstr("--bytes: ")));
  EXPECT_EQ(std::count_if(problems.begin(), problems.end(),
                          [](const std::string& problem) { return problem.rfind("--damp", 0) == 0; }),
            1);
  EXPECT_THAT(GetErrorInfo(Read({}).status()).violations,
              ElementsAre(testing::Field(&FieldViolation::field, "--bits")));
}

TEST_P(CompareFlagsTest, AJobFileOfAPipeIsReadOnce) {
  const Pipe pipe(files_ / "pipe", "gptq: {damp: 0.5}\n");
  ASSERT_OK_AND_ASSIGN(const auto specs, Read({"-f", pipe.path(), "--bits", "2.5,3"}));
  EXPECT_GT(specs.size(), 3u);
  for (const ComparedSpec& one : specs) EXPECT_EQ(one.input.spec.gptq.damp, 0.5);
}

TEST_P(CompareFlagsTest, RanksAreOfTheBudgetsByRank) {
  ASSERT_OK_AND_ASSIGN(const auto specs, Read({"--bits", "3", "--rank-bytes", "4MB", "--ranks", "2",
                                               "--heuristics", "optimal"}));
  ASSERT_EQ(specs.size(), 2u);
  EXPECT_FALSE(specs[0].input.spec.budget.rank_bytes.has_value());
  EXPECT_EQ(specs[1].input.spec.budget.rank_bytes, (RankBudget{4'000'000, 2}));
  EXPECT_THAT(std::string(Read({"--bits", "3", "--ranks", "2"}).status().message()),
              HasSubstr("--ranks: says nothing without"));
}

INSTANTIATE_TEST_SUITE_P(Model, CompareFlagsTest, ::testing::Bool(),
                         [](const auto& typed) { return typed.param ? "AsFlag" : "AsArgument"; });

}  // namespace
}  // namespace quantmoe::cli
