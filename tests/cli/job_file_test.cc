#include "cli/job_file.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "proto/job_spec_proto.h"
#include "tests/support/pipe.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/unusual_spec.h"

namespace quantmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class JobFileTest : public ::testing::Test {
 protected:
  SpecInput Read(const std::string& text) {
    SpecInput input;
    violations_.clear();
    ReadJobFile(files_.Write("job.yaml", text), input, violations_);
    return input;
  }
  // "LINE:COLUMN: PROBLEM".
  std::vector<std::string> Problems(const std::string& text) {
    Read(text);
    const std::string name = files_ / "job.yaml";
    std::vector<std::string> problems;
    for (const FieldViolation& violation : violations_) {
      EXPECT_EQ(violation.field.rfind(name, 0), 0u) << violation.field;
      problems.push_back(absl::StrCat(violation.field.substr(name.size() + 1), ": ", violation.description));
    }
    return problems;
  }

  TemporaryDirectory files_;
  std::vector<FieldViolation> violations_;
};

TEST_F(JobFileTest, EveryFieldIsWrittenAndReadBack) {
  for (const std::string& path : OptionPaths()) {
    const SpecInput written{UnusualAt(path), {{path, ""}}};
    const SpecInput read = Read(JobFileText(written));
    EXPECT_THAT(violations_, IsEmpty()) << path;
    EXPECT_EQ(read.spec, written.spec) << path << "\n" << JobFileText(written);
    // A digest is given with its members.
    EXPECT_FALSE(read.given.empty()) << path;
    for (const auto& [given, place] : read.given)
      EXPECT_TRUE(given == path || absl::StartsWith(given, path + ".")) << path << " gave " << given;
  }
}

TEST_F(JobFileTest, NameAndLabelsStandBesideTheSpec) {
  SpecInput written;
  written.spec.model_uri = "/m";
  written.given = {{"model.uri", ""}};
  written.title = {"a: \"name\" # of\n two lines", {{"team", "a b"}, {"true", "1.0"}, {"x:y", ""}}};
  const std::string text = JobFileText(written);
  const SpecInput read = Read(text);
  EXPECT_THAT(violations_, IsEmpty()) << text;
  EXPECT_EQ(read.title.display_name, written.title.display_name) << text;
  EXPECT_EQ(read.title.labels, written.title.labels) << text;
  EXPECT_THAT(read.given, ElementsAre(testing::Key("model.uri"))) << "they are no options";
  EXPECT_EQ(JobFileText(read), text);
  EXPECT_THAT(Problems("display_nam: x"),
              ElementsAre("1:1: display_nam is unknown; did you mean display_name?"));
  EXPECT_THAT(Problems("labels: [a]"), ElementsAre("1:9: labels must have fields, as NAME: VALUE"));
}

TEST_F(JobFileTest, AWholeSpecIsWrittenAndReadBack) {
  SpecInput written{UnusualEverywhere(), {}};
  for (const std::string& path : OptionPaths()) written.given[path] = "";
  EXPECT_EQ(Read(JobFileText(written)).spec, written.spec) << JobFileText(written);
  EXPECT_THAT(violations_, IsEmpty());
}

TEST_F(JobFileTest, NumbersKeepEveryBit) {
  for (const double value : {0.1 + 0.2, 1e-9, 3.0, 1.0 / 3, 2.5e-7}) {
    SpecInput written{{}, {{"gptq.damp", ""}}};
    written.spec.gptq.damp = value;
    EXPECT_EQ(Read(JobFileText(written)).spec.gptq.damp, value);
  }
}

TEST_F(JobFileTest, FilesAreRelativeToTheJobFile) {
  const SpecInput read = Read(
      "model: {uri: ../model}\n"
      "calibration: {text_uri: own.txt}\n"
      "evaluation:\n"
      "  perplexity_text_uri: hf://datasets/o/n/t.txt\n"
      "  tasks: [{name: piqa, data_uri: ./items/piqa.jsonl}]\n");
  EXPECT_THAT(violations_, IsEmpty());
  EXPECT_EQ(read.spec.calibration.text_uri, files_ / "own.txt");
  EXPECT_EQ(read.spec.evaluation.perplexity_text_uri, "hf://datasets/o/n/t.txt");
  EXPECT_EQ(read.spec.evaluation.tasks.at(0).data_uri, files_ / "items/piqa.jsonl");
  EXPECT_EQ(files_ / "x", absl::StrCat(read.spec.model_uri.substr(0, read.spec.model_uri.rfind('/')),
                                       files_.path().substr(files_.path().rfind('/')), "/x"));
}

TEST_F(JobFileTest, UnknownFieldsAreNamedWithTheNearestOne) {
  EXPECT_THAT(
      Problems("gptq:\n  group_sise: 64\n  damp: 0.01\nheuristics: {name: optimal}\nzzzzzzzzzzz: 1\n"),
      ElementsAre("2:3: gptq.group_sise is unknown; did you mean group_size?",
                  "4:1: heuristics is unknown; did you mean heuristic?",
                  "5:1: zzzzzzzzzzz is unknown; known are model, budget, heuristic, runtime_profile, rules, "
                  "protect_super_experts, publish, "
                  "effort, gptq, calibration, evaluation, display_name, labels"));
  EXPECT_THAT(Problems("rules:\n  - {pattern: experts, min_bit: 2}\n"),
              ElementsAre("2:24: rules[0].min_bit is unknown; did you mean min_bits?"));
}

TEST_F(JobFileTest, ValuesOfTheWrongKindAreNamedByPlace) {
  EXPECT_THAT(Problems("gptq:\n"
                       "  group_size: large\n"
                       "  widths: 3\n"
                       "  order: sideways\n"
                       "  gate_weighted: yes\n"
                       "  damp: [0.1]\n"
                       "  shrinkage:\n"
                       "budget: 3\n"
                       "rules: {pattern: x}\n"
                       "calibration: {text: {sha: x}}\n"
                       "heuristic: {params: [a]}\n"),
              ElementsAre("8:9: budget must have fields, as NAME: VALUE",
                          "11:21: heuristic.params must have fields, as NAME: VALUE",
                          "9:8: rules must be a list", "2:15: gptq.group_size 'large' is not a whole number",
                          "3:11: gptq.widths must be a list", "6:9: gptq.damp must be one value",
                          "4:10: gptq.order \"sideways\" is unknown; known are natural, activation, group",
                          "5:18: gptq.gate_weighted 'yes' is neither true nor false",
                          "7:13: gptq.shrinkage has no value",
                          "10:22: calibration.text.sha is unknown; did you mean sha256?"));
}

TEST_F(JobFileTest, SizesAndNamesAreTakenAsFlagsTakeThem) {
  const SpecInput read = Read("budget: {max_bytes: 10GiB}\ngptq: {order: NATURAL}\nruntime_profile: 'any'\n");
  EXPECT_THAT(violations_, IsEmpty());
  EXPECT_EQ(read.spec.budget.max_bytes, int64_t{10} << 30);
  EXPECT_EQ(read.spec.gptq.order, ColumnOrder::kNatural);
}

TEST_F(JobFileTest, WhatIsNoJobFileIsRefused) {
  EXPECT_THAT(Problems(""), ElementsAre("1:1: is empty"));
  EXPECT_THAT(Problems("# nothing\n"), ElementsAre("1:1: is empty"));
  EXPECT_THAT(Problems("- a\n"), ElementsAre("1:1: must have fields, as NAME: VALUE"));
  SpecInput input;
  ReadJobFile(files_ / "none.yaml", input, violations_);
  EXPECT_EQ(violations_.back().field, "--file");
  ReadJobFile(files_.path(), input, violations_);
  EXPECT_EQ(violations_.back().field, "--file");
}

TEST_F(JobFileTest, APipeIsReadAndItsPathsStartInTheCurrentFolder) {
  const Pipe pipe(files_ / "pipe", "model: {uri: models/x}\n");
  SpecInput input;
  ReadJobFile(pipe.path(), input, violations_);
  EXPECT_THAT(violations_, IsEmpty());
  EXPECT_EQ(input.spec.model_uri, AbsolutePath("models/x", ""));
}

TEST_F(JobFileTest, AFileWithoutAnEndIsRefusedWithTheLimit) {
  SpecInput input;
  ReadJobFile("/dev/zero", input, violations_);
  ASSERT_EQ(violations_.size(), 1u);
  EXPECT_EQ(violations_.front().field, "--file");
  EXPECT_THAT(violations_.front().description,
              AllOf(testing::HasSubstr("/dev/zero"), testing::HasSubstr("1.00 MiB")));
}

}  // namespace
}  // namespace quantmoe::cli
