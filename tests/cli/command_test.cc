#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>

namespace quantmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandTest : public ::testing::Test {
 protected:
  void Parse(std::vector<std::string> arguments) {
    app_.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  }
  // What is wrong with them; empty: nothing.
  std::string Refusal(const std::vector<std::string>& arguments) {
    try {
      Parse(arguments);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
    return "";
  }

  CLI::App app_{"", "program"};
  Command command_{app_};
};

TEST_F(CommandTest, AFlagSetsItsVariable) {
  std::string text;
  int number = 0;
  int64_t large = 0;
  double fraction = 0;
  bool given = false, absent = false;
  command_.Add("--text,text", text, "");
  command_.Add("--number", number, "");
  command_.Add("--large", large, "");
  command_.Add("--fraction", fraction, "");
  command_.AddSwitch("--given", given, "");
  command_.AddSwitch("--absent", absent, "");
  Parse({"words", "--number", "-3", "--large", "9000000000", "--fraction", "0.5", "--given"});
  EXPECT_EQ(text, "words");
  EXPECT_EQ(number, -3);
  EXPECT_EQ(large, 9'000'000'000);
  EXPECT_EQ(fraction, 0.5);
  EXPECT_TRUE(given);
  EXPECT_FALSE(absent);
}

TEST_F(CommandTest, AListIsSplitAndLeavesTheArgumentAfterIt) {
  std::vector<int> widths;
  std::vector<double> bits;
  std::vector<std::string> labels;
  std::string model;
  command_.Add("--widths", widths, "").SplitAt(',').OneValueEach();
  command_.Add("--bits", bits, "").SplitAt(',').OneValueEach();
  command_.Add("--label", labels, "").OneValueEach();
  command_.Add("model", model, "");
  Parse({"--label", "a=1", "--label", "b=2", "--bits", "2.5,3", "--widths", "2,4", "model"});
  EXPECT_THAT(widths, ElementsAre(2, 4));
  EXPECT_THAT(bits, ElementsAre(2.5, 3));
  EXPECT_THAT(labels, ElementsAre("a=1", "b=2"));
  EXPECT_EQ(model, "model");
}

TEST_F(CommandTest, BadValuesAreRefusedWithTheNameOfTheFlag) {
  int points = 24;
  std::string form;
  command_.Add("--points", points, "").Within(Between(2, 200));
  command_.Add("--form", form, "").OneOf({"text", "json"});
  EXPECT_THAT(Refusal({"--points", "1"}), HasSubstr("--points: must be"));
  EXPECT_THAT(Refusal({"--points", "201"}), HasSubstr("--points: must be"));
  EXPECT_THAT(Refusal({"--form", "yaml"}), HasSubstr("--form: yaml not in {text,json}"));
  EXPECT_EQ(Refusal({"--points", "200", "--form", "json"}), "");
}

TEST_F(CommandTest, WhatIsRequiredMustBeGiven) {
  std::string out;
  command_.Add("--out", out, "").Required();
  EXPECT_THAT(Refusal({}), HasSubstr("--out is required"));
}

TEST_F(CommandTest, OnlyTheNamedCommandRuns) {
  int first = 0, second = 0;
  command_.AddCommand("first", "").OnParsed([&first] { ++first; });
  command_.AddCommand("second", "").OnParsed([&second] { ++second; });
  command_.RequireCommand();
  Parse({"second"});
  EXPECT_EQ(first, 0);
  EXPECT_EQ(second, 1);
  EXPECT_THAT(Refusal({}), HasSubstr("subcommand is required"));
}

TEST_F(CommandTest, TheHelpShowsTypesDefaultsGroupsAndTheFooter) {
  std::string format = "gptq";
  command_.BeginGroup("Export");
  command_.Add("--format", format, "how weights are stored").Type("FORM").ShowDefault();
  command_.SetFooter("Exit code: 0 done.");
  const std::string help = app_.help();
  EXPECT_THAT(help, HasSubstr("Export:"));
  EXPECT_THAT(help, HasSubstr("--format FORM=gptq"));
  EXPECT_THAT(help, HasSubstr("Exit code: 0 done."));
}

}  // namespace
}  // namespace quantmoe::cli
