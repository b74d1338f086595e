#include "base/program_exit.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kLatin1[] = "caf\xE9";

// The flags of CheckFlagTexts' violations for a program with one option of every kind.
std::vector<std::string> Refused(std::vector<std::string> arguments) {
  CLI::App app;
  std::string name, model, out;
  std::vector<std::string> labels, tasks;
  CLI::App& command = *app.add_subcommand("submit");
  command.add_option("model", model)->type_name("MODEL_URI");
  command.add_option("--name", name)->envname("QUANTMOE_TEST_NAME");
  command.add_option("--label", labels)->allow_extra_args(false);
  command.add_option("--out", out)->type_name("FILE");
  command.add_option("--task", tasks)->allow_extra_args(false)->type_name("NAME=FILE");
  app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  const absl::Status status = CheckFlagTexts(app);
  std::vector<std::string> flags;
  for (const FieldViolation& violation : GetErrorInfo(status).violations) flags.push_back(violation.field);
  EXPECT_EQ(status.ok(), flags.empty());
  return flags;
}

TEST(CheckFlagTexts, TextsThatAreNotUtf8AreNamedByTheirFlag) {
  EXPECT_THAT(Refused({"submit", "caf\u00E9", "--name", "caf\u00E9"}), IsEmpty());
  EXPECT_THAT(Refused({"submit", "/m", "--name", kLatin1}), ElementsAre("--name"));
  EXPECT_THAT(Refused({"submit", kLatin1, "--label", "a=b", "--label", std::string("a=") + kLatin1}),
              ElementsAre("model", "--label"));
}

TEST(CheckFlagTexts, PathsMayHaveAnyBytes) {
  const std::string path = std::string("/tmp/") + kLatin1;
  EXPECT_THAT(Refused({"submit", "--out", path, "--task", "piqa=" + path}), IsEmpty());
}

TEST(CheckFlagTexts, NamesAndAddressesBesidePathsMayNot) {
  EXPECT_THAT(Refused({"submit", "--out", std::string("hf://datasets/a/b/") + kLatin1}),
              ElementsAre("--out"));
  EXPECT_THAT(Refused({"submit", "--task", std::string(kLatin1) + "=/items"}), ElementsAre("--task"));
  EXPECT_THAT(Refused({"submit", "--task", std::string("piqa=hf://datasets/a/b/") + kLatin1}),
              ElementsAre("--task"));
}

TEST(CheckFlagTexts, TheEnvironmentIsLookedAtToo) {
  ::setenv("QUANTMOE_TEST_NAME", kLatin1, 1);
  EXPECT_THAT(Refused({"submit"}), ElementsAre("--name"));
  ::unsetenv("QUANTMOE_TEST_NAME");
}

TEST(ParseFlags, RefusesThemBeforeTheProgramBegins) {
  CLI::App app("", "program");
  std::string id;
  app.add_option("--worker-id", id);
  const char* const argv[] = {"program", "--worker-id", kLatin1};
  testing::internal::CaptureStderr();
  EXPECT_EQ(ParseFlags(app, 3, argv), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::StartsWith("program: --worker-id: is not UTF-8: 'caf\uFFFD'"));
}

TEST(ProgramExit, AnErrorCannotCommandATerminal) {
  const absl::Status plain = absl::NotFoundError("model \x1b[2J\u202E\nis gone");
  EXPECT_EQ(DescribeError("p", plain), "p: model \\u001b[2J\\u202e\nis gone\n");
  const absl::Status fields =
      InvalidFields({{"--task\n", "\x1b]0;x\x07 is no file"}, {"--text", "is empty"}});
  EXPECT_EQ(DescribeError("p", fields),
            "p: --task\\n: \\u001b]0;x\\u0007 is no file\np: --text: is empty\n  reason: INVALID_FIELD\n");
}

TEST(CheckFlagsHaveValues, AFlagWithoutItsValueTakesNoOther) {
  EXPECT_OK(CheckFlagsHaveValues({"submit", "--out=x", "--label=team=", "a=", "--dry-run", "--", "--out="}));
  const absl::Status empty = CheckFlagsHaveValues({"submit", "--out=", "--dry-run", "--name="});
  std::vector<std::string> flags;
  for (const FieldViolation& violation : GetErrorInfo(empty).violations) flags.push_back(violation.field);
  EXPECT_THAT(flags, ElementsAre("--out=", "--name="));
}

TEST(CheckFlagsHaveValues, EveryProgramLooksBeforeItParses) {
  CLI::App app("", "program");
  std::string out = "default";
  bool dry_run = false;
  app.add_option("--out", out);
  app.add_flag("--dry-run", dry_run);
  const std::vector<const char*> arguments = {"program", "--out=", "--dry-run"};
  EXPECT_EQ(ParseFlags(app, static_cast<int>(arguments.size()), arguments.data()), 2);
  EXPECT_EQ(out, "default");
}

TEST(FinishOutput, WhatCouldNotBeWrittenIsAFailure) {
  std::ofstream full("/dev/full");
  full << "rows";
  EXPECT_EQ(FinishOutput("program", full, /*code=*/0), 1);
  EXPECT_EQ(FinishOutput("program", full, /*code=*/3), 3) << "the first failure is told";
  std::ostringstream taken;
  taken << "rows";
  EXPECT_EQ(FinishOutput("program", taken, /*code=*/0), 0);
}

TEST(ParseFlags, AHintNamesTheCommandThatWasMistyped) {
  CLI::App app("", "program");
  app.require_subcommand(1);
  app.add_subcommand("inner")->add_subcommand("most")->add_flag("--known");
  const auto told = [&app](std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "program");
    testing::internal::CaptureStderr();
    EXPECT_EQ(ParseFlags(app, static_cast<int>(arguments.size()), arguments.data()), 2);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(told({"inner", "most", "--unknown"}), testing::HasSubstr("`program inner most --help`"));
  EXPECT_THAT(told({"inner", "--unknown"}), testing::HasSubstr("`program inner --help`"));
  EXPECT_THAT(told({"--unknown"}), testing::HasSubstr("`program --help`"));
}

}  // namespace
}  // namespace quantmoe
