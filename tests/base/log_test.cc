#include "base/log.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;

// What reaches stderr.
std::string Logged(LogFormat format, LogLevel level, absl::string_view message,
                   std::initializer_list<LogField> fields, LogLevel least = LogLevel::kDebug) {
  InitLogging(format, least);
  testing::internal::CaptureStderr();
  Log(level, message, fields);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, AnEventIsOneLineWithItsTimeInUtcItsLevelAndItsFields) {
  constexpr char kTime[] =
      "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
      "\\.[0-9][0-9][0-9]Z";
  EXPECT_THAT(Logged(LogFormat::kText, LogLevel::kWarning, "job failed", {{"job", "j1"}, {"tasks", 3}}),
              MatchesRegex(absl::StrCat(kTime, " warning job failed job=j1 tasks=3\n")));
  const std::string line = Logged(LogFormat::kJson, LogLevel::kError, "job failed", {{"job", "j1"}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto json = nlohmann::ordered_json::parse(line);
  EXPECT_THAT(json["ts"].get<std::string>(), MatchesRegex(kTime));
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["msg"], "job failed");
  EXPECT_EQ(json["job"], "j1");
}

TEST(Log, EventsBelowTheLeastLevelAreLeftOut) {
  EXPECT_EQ(Logged(LogFormat::kText, LogLevel::kInfo, "quiet", {}, LogLevel::kWarning), "");
  EXPECT_THAT(Logged(LogFormat::kText, LogLevel::kWarning, "loud", {}, LogLevel::kWarning),
              HasSubstr("loud"));
}

TEST(Log, LevelsHaveTheNamesThatLinesShow) {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    const std::string name = nlohmann::json::parse(Logged(LogFormat::kJson, level, "m", {}))["level"];
    EXPECT_EQ(LogLevelNamed(name), level) << name;
  }
}

TEST(Log, ABraceOrAPercentIsText) {
  EXPECT_THAT(Logged(LogFormat::kText, LogLevel::kInfo, "{} %v %l", {{"name", "{0}%n"}}),
              EndsWith("info {} %v %l name={0}%n\n"));
}

TEST(Log, AValueCannotForgeALineOrAField) {
  const std::string line = Logged(LogFormat::kText, LogLevel::kInfo, "job failed\nfake",
                                  {{"reason", "x\n2026-01-01 info all is well worker=me"},
                                   {"quoted", "a\" b=\"c"},
                                   {"backslash", "a \\"},
                                   {"plain", "w-1"}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_THAT(line,
              HasSubstr("info job failed\\nfake reason=\"x\\n2026-01-01 info all is well worker=me\" "));
  EXPECT_THAT(line, HasSubstr(R"( quoted="a\" b=\"c" backslash="a \\" )"));
  EXPECT_THAT(line, EndsWith(" plain=w-1\n"));
}

TEST(Log, AValueCannotCommandATerminal) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line = Logged(format, LogLevel::kError, "m", {{"name", "\x1b[2J\u009B31m\x7f\xFF"}});
    for (const char* command : {"\x1b", "\u009B", "\x7f", "\xFF"}) {
      EXPECT_EQ(line.find(command), std::string::npos) << line;
    }
  }
}

TEST(Log, JsonHoldsTheValueItself) {
  const auto json = nlohmann::json::parse(
      Logged(LogFormat::kJson, LogLevel::kInfo, "m\n", {{"name", "a\n\"b\" \u009B \u3042"}}));
  EXPECT_EQ(json["msg"], "m\n");
  EXPECT_EQ(json["name"], "a\n\"b\" \u009B \u3042");
}

}  // namespace
}  // namespace quantmoe
