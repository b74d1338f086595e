#include "cli/read_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <CLI/CLI.hpp>

#include "cli/spec_flags.h"
#include "cli/value_text.h"
#include "proto/job_spec_proto.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/unusual_spec.h"

namespace quantmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What makes the value of an option, as it is typed.
std::vector<std::string> Typed(const std::string& flag, const std::string& text) { return {flag, text}; }
std::vector<std::string> Typed(const std::string& flag, int64_t value) { return {flag, absl::StrCat(value)}; }
std::vector<std::string> Typed(const std::string& flag, int value) { return {flag, absl::StrCat(value)}; }
std::vector<std::string> Typed(const std::string& flag, double value) { return {flag, absl::StrCat(value)}; }
std::vector<std::string> Typed(const std::string& flag, bool value) {
  return {absl::StrCat(flag, "=", value ? "true" : "false")};
}
std::vector<std::string> Typed(const std::string& flag, const std::vector<int>& values) {
  return {flag, absl::StrJoin(values, ",")};
}
std::vector<std::string> Typed(const std::string& flag, const std::vector<std::string>& values) {
  std::vector<std::string> typed;
  for (const std::string& value : values) typed.insert(typed.end(), {flag, value});
  return typed;
}
std::vector<std::string> Typed(const std::string& flag, const std::map<std::string, std::string>& values) {
  std::vector<std::string> typed;
  for (const auto& [key, value] : values) typed.insert(typed.end(), {flag, absl::StrCat(key, "=", value)});
  return typed;
}
template <NamedChoice E>
std::vector<std::string> Typed(const std::string& flag, E value) {
  return {flag, std::string(ChoiceName(value))};
}
template <typename T>
std::vector<std::string> Typed(const std::string& flag, const std::optional<T>& value) {
  return Typed(flag, value.value_or(T{}));
}

struct FlagCase {
  std::string path;
  std::vector<std::string> arguments;
};

// One case for every option that has a flag of its own.
template <HasOptions Spec>
void CollectCases(const Spec& unusual, const std::string& path, std::vector<FlagCase>& cases) {
  auto visit = [&](const OptionInfo& option, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const std::string below = PathBelow(path, option);
    if constexpr (HasOptions<T>) {
      CollectCases(value, below, cases);
    } else if constexpr (std::same_as<T, std::optional<RankBudget>>) {
      CollectCases(value.value_or(RankBudget{}), below, cases);
    } else if constexpr (!requires { requires HasOptions<typename T::value_type>; }) {
      if (option.flag[0] != '\0') cases.push_back({below, Typed(FlagName(option), value)});
    }
  };
  VisitOptions(unusual, visit);
}

class ReadSpecTest : public ::testing::Test {
 protected:
  absl::StatusOr<SpecInput> Read(std::vector<std::string> arguments, const SpecNeeds& needs = {}) {
    CLI::App app;
    TypedFlags flags;
    AddSpecFlags(app, flags);
    arguments = JoinSwitchValues(std::move(arguments));
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return ReadSpec(flags, needs, [this](const std::string& path) -> absl::StatusOr<std::optional<Digest>> {
      taken_.push_back(path);
      if (path.find("missing") != std::string::npos) return absl::NotFoundError("cannot read it");
      if (path.find("://") != std::string::npos) return std::nullopt;
      return DigestOf(path);
    });
  }

  // What a server reads of what the client sends.
  static JobSpec Sent(const SpecInput& input) {
    std::vector<FieldViolation> violations;
    JobSpec spec = JobSpecFromProto(JobSpecToProto(input.spec, input.given), violations);
    EXPECT_THAT(violations, IsEmpty());
    return spec;
  }

  std::vector<std::string> Refused(const std::vector<std::string>& arguments) {
    std::vector<std::string> problems;
    for (const FieldViolation& violation : GetErrorInfo(Read(arguments).status()).violations)
      problems.push_back(absl::StrCat(violation.field, ": ", violation.description));
    return problems;
  }

  TemporaryDirectory files_;
  std::vector<std::string> taken_;
};

TEST_F(ReadSpecTest, EveryFlagGivesBothProgramsTheSameSpec) {
  JobSpec unusual = UnusualEverywhere();
  // In the ranges that the entries state.
  unusual.budget = {
      .average_bits = 3.25, .max_bytes = 4096, .stored_bits = 3.5, .rank_bytes = RankBudget{4096, 4}};
  unusual.gptq.correction = 0.5;
  std::vector<FlagCase> cases;
  CollectCases(unusual, "", cases);
  EXPECT_GT(cases.size(), 30u);
  for (const char* flag : {"--pin", "--min-bits", "--max-bits"})
    cases.push_back({"rules", {flag, "experts=3"}});
  cases.push_back({"rules", {"--protect", "shared"}});
  cases.push_back({"evaluation.tasks", {"--task", "piqa=/items", "--limit", "7"}});
  cases.push_back({"evaluation.tasks", {"--task", "mmlu=/items", "--fewshot", "mmlu=/dev"}});
  for (FlagCase& one : cases) {
    SCOPED_TRACE(absl::StrJoin(one.arguments, " "));
    if (one.path == "budget.rank_bytes.ranks")
      one.arguments.insert(one.arguments.end(), {"--rank-bytes", "4096"});
    if (one.path == "budget.rank_bytes.max_bytes")
      one.arguments.insert(one.arguments.end(), {"--ranks", "4"});
    ASSERT_OK_AND_ASSIGN(const SpecInput input, Read(one.arguments, {.model = false, .budget = false}));
    ASSERT_OK_AND_ASSIGN(const SpecInput nothing, Read({}, {.model = false, .budget = false}));
    EXPECT_NE(input.spec, nothing.spec) << "the flag says nothing";
    EXPECT_EQ(Sent(input), input.spec);
  }
}

TEST_F(ReadSpecTest, RulesKeepTheirOrderAndTheirRepeats) {
  ASSERT_OK_AND_ASSIGN(const SpecInput input,
                       Read({"--model", "/m", "--bits", "3", "--pin", "shared=4", "--pin", "attention=8",
                             "--pin", "shared=4", "--protect", "dense", "--min-bits", "experts=3"}));
  EXPECT_THAT(input.spec.rules,
              ElementsAre(WidthRule{"shared", 4, 4, false}, WidthRule{"attention", 8, 8, false},
                          WidthRule{"shared", 4, 4, false}, WidthRule{"experts", 3, 0, false},
                          WidthRule{"dense", 0, 0, true}));
  EXPECT_EQ(Sent(input).rules, input.spec.rules);
}

TEST_F(ReadSpecTest, WhatIsNotTypedIsNotSaid) {
  ASSERT_OK_AND_ASSIGN(const SpecInput input, Read({"--model", "models/x/", "--bytes", "10GiB"}));
  EXPECT_EQ(input.spec.model_uri, AbsoluteModelUri("models/x"));
  EXPECT_EQ(input.spec.heuristic, "optimal");
  std::vector<std::string> given;
  for (const auto& [path, place] : input.given) given.push_back(path);
  EXPECT_THAT(given, ElementsAre("budget.max_bytes", "heuristic.name", "model.uri"));
  ASSERT_OK_AND_ASSIGN(const SpecInput preset, Read({"--model", "/m", "--preset", "mixtral-top2"}));
  EXPECT_FALSE(preset.given.contains("heuristic.name"));
}

TEST_F(ReadSpecTest, FlagsWinOverTheJobFile) {
  const std::string file =
      files_.Write("job.yaml",
                   "model: {uri: /m}\n"
                   "budget: {max_bytes: 1GiB}\n"
                   "heuristic: {name: random, params: {seed: 1, scope: layer}}\n"
                   "gptq: {damp: 0.5, order: group, gate_weighted: true, widths: [2, 4]}\n"
                   "rules: [{pattern: shared, protect: true}]\n"
                   "evaluation: {tasks: [{name: piqa, data_uri: items}]}\n");
  ASSERT_OK_AND_ASSIGN(const SpecInput alone, Read({"-f", file}));
  EXPECT_EQ(alone.spec.gptq.damp, 0.5);
  EXPECT_EQ(alone.spec.evaluation.tasks.at(0).data, DigestOf(files_ / "items"));
  EXPECT_EQ(Sent(alone), alone.spec);
  ASSERT_OK_AND_ASSIGN(const SpecInput both,
                       Read({"-f", file, "--bits", "3", "--damp", "0.25", "--gate-weighted=false", "--param",
                             "seed=2", "--pin", "attention=4", "--widths", "8", "--limit", "5"}));
  EXPECT_EQ(both.spec.budget, (Budget{.average_bits = 3.0, .max_bytes = {}}));
  EXPECT_EQ(both.spec.gptq.damp, 0.25);
  EXPECT_FALSE(both.spec.gptq.gate_weighted);
  EXPECT_EQ(both.spec.gptq.order, ColumnOrder::kGroup);
  EXPECT_THAT(both.spec.gptq.widths, ElementsAre(8));
  EXPECT_EQ(both.spec.heuristic_params,
            (std::map<std::string, std::string>{{"scope", "layer"}, {"seed", "2"}}));
  EXPECT_THAT(both.spec.rules, ElementsAre(WidthRule{"attention", 4, 4, false}));
  EXPECT_EQ(both.spec.evaluation.tasks.at(0).limit, 5);
  EXPECT_EQ(Sent(both), both.spec);
}

TEST_F(ReadSpecTest, ARankBudgetOfTheFileTakesOtherRanks) {
  const std::string file =
      files_.Write("job.yaml", "model: {uri: /m}\nbudget: {rank_bytes: {max_bytes: 1GB, ranks: 2}}\n");
  ASSERT_OK_AND_ASSIGN(const SpecInput input, Read({"-f", file, "--ranks", "4"}));
  EXPECT_EQ(input.spec.budget.rank_bytes, (RankBudget{1'000'000'000, 4}));
}

TEST_F(ReadSpecTest, EveryBadFlagIsNamedAtOnce) {
  EXPECT_THAT(Refused({"--param", "novalue", "--damp", "much", "--order", "sideways", "--pin", "x=y",
                       "--task", "=x", "--fewshot", "copa=x", "--limit", "0", "--calibration", "missing",
                       "--add-bos", "--no-add-bos"}),
              testing::UnorderedElementsAre(
                  "--bits: give exactly one of --bits, --bytes, --stored-bits and --rank-bytes",
                  "model: is missing: name it, or a job file that does (-f)",
                  "--param: 'novalue' is not NAME=VALUE", "--damp: 'much' is not a number",
                  "--order: \"sideways\" is unknown; known are natural, activation, group",
                  "--pin: 'y' is no number of bits", "--task: '=x' is not NAME=VALUE",
                  "--fewshot: there is no task 'copa'", "--limit: '0' is no number above 0",
                  "--add-bos: is given both ways", "--calibration: cannot read it"));
}

TEST_F(ReadSpecTest, WhatAFileMeantIsNotMissing) {
  for (const char* text : {"model: {uri: /m\n", "modle: {uri: /m}\nbudget: {average_bits: 3}\n",
                           "model: {uri: /m}\nbudget: {average_bit: 3}\n", "model: {uri: /m}\nbudget: 3\n"}) {
    const std::string file = files_.Write("job.yaml", text);
    EXPECT_THAT(Refused({"-f", file}), ElementsAre(testing::StartsWith(file))) << text;
    EXPECT_THAT(Refused({"-f", file, "--damp", "much"}),
                ElementsAre(testing::StartsWith(file), "--damp: 'much' is not a number"))
        << text;
  }
  EXPECT_THAT(Refused({"-f", files_ / "none"}), ElementsAre(testing::StartsWith("--file: cannot read")));
  const std::string whole = files_.Write("job.yaml", "model: {uri: /m}\n");
  EXPECT_THAT(Refused({"-f", whole}), ElementsAre(testing::StartsWith("--bits: give exactly one")));
}

TEST_F(ReadSpecTest, FlagsThatSayNothingAreRefused) {
  const std::vector<std::string> sound = {"--model", "/m", "--bits", "3"};
  const auto with = [&sound](std::vector<std::string> more) {
    more.insert(more.begin(), sound.begin(), sound.end());
    return more;
  };
  EXPECT_THAT(Refused(with({"--ranks", "4"})),
              ElementsAre("--ranks: says nothing without a budget in --rank-bytes"));
  EXPECT_THAT(Refused(with({"--limit", "4"})),
              ElementsAre(testing::StartsWith("--limit: says nothing without benchmarks")));
  const std::string file =
      files_.Write("job.yaml", "model: {uri: /m}\nbudget: {rank_bytes: {max_bytes: 1GB, ranks: 2}}\n");
  EXPECT_THAT(Read({"-f", file, "--bits", "3"}), IsOk()) << "the flag replaces the whole budget";
}

TEST_F(ReadSpecTest, ValuesOutOfRangeAreNamedByFlagOrPlace) {
  const std::string file = files_.Write(
      "job.yaml", "model: {uri: /m}\ngptq:\n  damp: 2\nevaluation: {tasks: [{name: glue, data_uri: x}]}\n");
  EXPECT_THAT(Refused({"-f", file, "--bits", "9", "--samples", "0"}),
              ElementsAre("--bits: is 9, must be in (0, 8]",
                          absl::StrCat(file, ":3:9: gptq.damp is 2, must be in [1e-09, 1]"),
                          "--samples: is 0, must be in [1, 1048576]",
                          testing::StartsWith(
                              absl::StrCat(file, ":4:21: evaluation.tasks[0].name \"glue\" is unknown"))));
}

TEST_F(ReadSpecTest, FailuresThatAreNoFaultOfTheInputKeepTheirCode) {
  TypedFlags flags;
  flags.Set("--model", "/m");
  flags.Set("--bits", "3");
  flags.Set("--text", "hf://datasets/o/n/t.txt");
  const auto away = [](const std::string&) -> absl::StatusOr<std::optional<Digest>> {
    return absl::UnavailableError("the hub is away");
  };
  const absl::Status status = ReadSpec(flags, {}, away).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("--text: the hub is away")));
}

TEST_F(ReadSpecTest, ASwitchTakesItsValueApartFromIt) {
  EXPECT_THAT(JoinSwitchValues({"--gate-weighted", "true", "/m", "--name", "true"}),
              ElementsAre("--gate-weighted=true", "/m", "--name", "true"));
  ASSERT_OK_AND_ASSIGN(const SpecInput input,
                       Read({"--gate-weighted", "true", "--model", "/m", "--bits", "3", "--no-evaluation"}));
  EXPECT_TRUE(input.spec.gptq.gate_weighted);
  EXPECT_TRUE(input.spec.evaluation.skip);
}

TEST_F(ReadSpecTest, TaskDirectoryTakesKnownTasksWithTheirDevSplit) {
  for (const char* name : {"piqa.jsonl", "mmlu.jsonl", "mmlu_dev.jsonl", "other.jsonl"})
    files_.Write(name, name);
  ASSERT_OK_AND_ASSIGN(const SpecInput input,
                       Read({"--model", "/m", "--bits", "3", "--tasks", files_.path()}));
  ASSERT_EQ(input.spec.evaluation.tasks.size(), 2u);
  EXPECT_EQ(input.spec.evaluation.tasks[0].name, "mmlu");
  EXPECT_EQ(input.spec.evaluation.tasks[0].fewshot_data, DigestOf(files_ / "mmlu_dev.jsonl"));
  EXPECT_EQ(input.spec.evaluation.tasks[1].name, "piqa");
  EXPECT_EQ(input.spec.evaluation.tasks[1].fewshot_data, Digest{});
}

}  // namespace
}  // namespace quantmoe::cli
