#include "cli/command_files.h"

#include <filesystem>

#include <CLI/CLI.hpp>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A program with a flag before its command, a command with every sort of flag, and another command.
class CommandFilesTest : public ::testing::Test {
 protected:
  CommandFilesTest() {
    app_.add_option("--token-file", texts_[0]);
    CLI::App& run = *app_.add_subcommand("run");
    run.add_option("model", texts_[1]);
    run.add_option("--text", texts_[2]);
    run.add_option("--task", lists_[0])->allow_extra_args(false);
    run.add_option("--tasks", texts_[3])->type_name("DIR");
    run.add_option("--name", texts_[4])->type_name("PREFIX");
    run.add_option("--svg", texts_[5])->type_name(kOutputFile);
    run.add_option("--html", texts_[6])->type_name(kOutputFile);
    run.add_option("--out", texts_[7])->type_name(kOutputFolder);
    app_.add_subcommand("other")->add_option("--text", texts_[8]);
    dir_.Write("text", "mine");
  }

  std::string Check(std::vector<std::string> arguments, const std::vector<ReadFolder>& read = {}) {
    std::reverse(arguments.begin(), arguments.end());
    app_.parse(arguments);
    return std::string(CheckCommandFiles(app_, read).message());
  }

  TemporaryDirectory dir_;
  CLI::App app_;
  std::string texts_[9];
  std::vector<std::string> lists_[1];
};

TEST_F(CommandFilesTest, AnOutputIsNoInputOfAnyFlag) {
  const std::string text = dir_ / "text";
  EXPECT_THAT(Check({"run", "--text", text, "--svg", text}),
              AllOf(HasSubstr("--svg: "), HasSubstr("is the text that this command reads (--text)")));
  EXPECT_THAT(Check({"run", "--task", "a=" + text, "--svg", text}), HasSubstr("(--task)"));
  EXPECT_THAT(Check({"run", "--task", "b=x", "--task", "a=file://" + text, "--html", text}),
              HasSubstr("(--task)"));
  EXPECT_THAT(Check({"--token-file", text, "run", "--html", text}), HasSubstr("(--token-file)"));
  EXPECT_THAT(Check({"run", text, "--svg", dir_ / "./text"}), HasSubstr("(model)"));
  EXPECT_EQ(Check({"run", "--svg", text}), "") << "a report replaces a file that is no input";
  EXPECT_EQ(Check({"run", "--name", text, "--svg", text}), "");
}

TEST_F(CommandFilesTest, OneFileHasManyNames) {
  fs::create_symlink(dir_ / "text", dir_ / "link");
  fs::create_hard_link(dir_ / "text", dir_ / "same");
  for (const char* name : {"link", "same"}) {
    EXPECT_THAT(Check({"run", "--text", dir_ / "text", "--svg", dir_ / name}), HasSubstr("--svg: ")) << name;
    EXPECT_THAT(Check({"run", "--text", dir_ / name, "--svg", dir_ / "text"}), HasSubstr("--svg: ")) << name;
  }
}

TEST_F(CommandFilesTest, AFileOfAModelOrOfATasksFolderIsAnInput) {
  dir_.Write("m/config.json", "{}");
  dir_.Write("items/arc.jsonl", "{}");
  dir_.Write("items/old.svg", "");
  EXPECT_THAT(Check({"run", dir_ / "m", "--svg", dir_ / "m/config.json"}),
              HasSubstr("is a file of the model"));
  EXPECT_THAT(Check({"run", "--tasks", dir_ / "items", "--svg", dir_ / "items/arc.jsonl"}),
              HasSubstr("(--tasks)"));
  EXPECT_EQ(Check({"run", "--tasks", dir_ / "items", "--svg", dir_ / "items/old.svg"}), "");
}

TEST_F(CommandFilesTest, AnOutputFolderHoldsNoInput) {
  dir_.Write("out/text", "mine");
  EXPECT_THAT(Check({"run", "--text", dir_ / "out/text", "--out", dir_ / "out"}),
              HasSubstr("holds the text"));
  dir_.Write("m/config.json", "{}");
  EXPECT_THAT(Check({"run", dir_ / "m", "--out", dir_ / "m/new"}), HasSubstr("lies in the model"));
  EXPECT_THAT(Check({"run", "--out", dir_ / "cache/x"}, {{"the cache", dir_ / "cache"}}),
              HasSubstr("the cache"));
}

TEST_F(CommandFilesTest, OutputsAreApartFromEachOther) {
  EXPECT_THAT(Check({"run", "--svg", dir_ / "x", "--html", dir_ / "x"}), HasSubstr("is the output of --svg"));
  EXPECT_THAT(Check({"run", "--svg", dir_ / "new/x", "--out", dir_ / "new"}), HasSubstr("--svg"));
  EXPECT_THAT(Check({"run", "--svg", dir_ / "new", "--out", dir_ / "new/"}), HasSubstr("--svg"));
  EXPECT_EQ(Check({"run", "--svg", "/dev/null", "--html", "/dev/null"}), "");
}

}  // namespace
}  // namespace quantmoe
