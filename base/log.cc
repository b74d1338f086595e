#include "base/log.h"

#include <atomic>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace quantmoe {
namespace {

namespace level = spdlog::level;

static_assert(static_cast<int>(LogLevel::kDebug) == level::debug);
static_assert(static_cast<int>(LogLevel::kInfo) == level::info);
static_assert(static_cast<int>(LogLevel::kWarning) == level::warn);
static_assert(static_cast<int>(LogLevel::kError) == level::err);

// The line of an event, %v of which RenderLogEvent makes: "2026-01-31T23:59:59.123Z info job failed job=j1".
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr char kJsonPattern[] = R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

std::atomic<LogFormat> log_format{LogFormat::kText};

void SetFormat(spdlog::logger& logger, LogFormat format) {
  logger.set_pattern(format == LogFormat::kJson ? kJsonPattern : kTextPattern,
                     spdlog::pattern_time_type::utc);
  log_format = format;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = spdlog::stderr_logger_mt("quantmoe");
    SetFormat(*made, LogFormat::kText);
    made->flush_on(level::debug);
    return made;
  }();
  return *logger;
}

}  // namespace

LogLevel LogLevelNamed(absl::string_view name) {
  for (const LogLevel known : {LogLevel::kDebug, LogLevel::kWarning, LogLevel::kError}) {
    const auto text = level::to_string_view(static_cast<level::level_enum>(known));
    if (name == absl::string_view(text.data(), text.size())) return known;
  }
  return LogLevel::kInfo;
}

void InitLogging(LogFormat format, LogLevel least) {
  SetFormat(Logger(), format);
  Logger().set_level(static_cast<level::level_enum>(least));
}

void Log(LogLevel event, absl::string_view message, std::initializer_list<LogField> fields) {
  const auto at = static_cast<level::level_enum>(event);
  if (!Logger().should_log(at)) return;
  Logger().log(at, spdlog::string_view_t(RenderLogEvent(log_format, message, fields)));
}

}  // namespace quantmoe
