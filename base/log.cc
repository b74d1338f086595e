#include "base/log.h"

#include <atomic>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/log_line.h"
#include "base/text.h"

namespace quantmoe {
namespace {

std::atomic<LogFormat> log_format{LogFormat::kText};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = spdlog::stderr_logger_mt("quantmoe");
    made->set_pattern("%v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *logger;
}

// In quotes when a reader could not tell where the value ends. A value can begin neither a line nor a field.
std::string Quoted(const std::string& value) {
  const std::string line = OneLine(absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}));
  if (line == value && value.find_first_of(" =") == std::string::npos) return line;
  return absl::StrCat("\"", line, "\"");
}

}  // namespace

std::string RenderLogLine(LogFormat format, LogLevel level, absl::string_view message,
                          std::initializer_list<LogField> fields) {
  const std::string now = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  const auto name = spdlog::level::to_string_view(ToSpdlog(level));
  const std::string severity(name.data(), name.size());
  if (format == LogFormat::kJson) {
    nlohmann::ordered_json json = {{"ts", now}, {"level", severity}, {"msg", std::string(message)}};
    for (const LogField& field : fields) json[field.key] = field.value;
    // JSON leaves DEL and the C1 controls as they are; escaped they are the same text.
    return OneLine(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  std::string line = absl::StrCat(now, " ", severity, " ", OneLine(message));
  for (const LogField& field : fields) absl::StrAppend(&line, " ", field.key, "=", Quoted(field.value));
  return line;
}

void InitLogging(LogFormat format, LogLevel level) {
  log_format = format;
  Logger().set_level(ToSpdlog(level));
}

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  if (!Logger().should_log(ToSpdlog(level))) return;
  Logger().log(ToSpdlog(level), "{}", RenderLogLine(log_format, level, message, fields));
}

}  // namespace quantmoe
