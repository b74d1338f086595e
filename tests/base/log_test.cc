#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/log_line.h"

namespace quantmoe {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

TEST(Log, AValueCannotForgeALineOrAField) {
  const std::string line = RenderLogLine(LogFormat::kText, LogLevel::kInfo, "job failed\nfake",
                                         {{"reason", "x\n2026-01-01 info all is well worker=me"},
                                          {"quoted", "a\" b=\"c"},
                                          {"backslash", "a \\"},
                                          {"plain", "w-1"}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line,
              HasSubstr("info job failed\\nfake reason=\"x\\n2026-01-01 info all is well worker=me\" "));
  EXPECT_THAT(line, HasSubstr(R"( quoted="a\" b=\"c" backslash="a \\" )"));
  EXPECT_THAT(line, EndsWith(" plain=w-1"));
}

TEST(Log, AValueCannotCommandATerminal) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line =
        RenderLogLine(format, LogLevel::kError, "m", {{"name", "\x1b[2J\u009B31m\x7f\xFF"}});
    for (const char* command : {"\x1b", "\u009B", "\x7f", "\xFF"}) {
      EXPECT_EQ(line.find(command), std::string::npos) << line;
    }
  }
}

TEST(Log, JsonHoldsTheValueItself) {
  const auto json = nlohmann::json::parse(
      RenderLogLine(LogFormat::kJson, LogLevel::kInfo, "m\n", {{"name", "a\n\"b\" \u009B \u3042"}}));
  EXPECT_EQ(json["msg"], "m\n");
  EXPECT_EQ(json["name"], "a\n\"b\" \u009B \u3042");
}

}  // namespace
}  // namespace quantmoe
