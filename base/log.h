// The log of a program: one event a line with its time, its level and its fields, as JSON for services and as
// plain text for people. A spdlog logger, which no header of ours includes. Thread-safe.
#pragma once

#include <initializer_list>

#include "absl/strings/string_view.h"

#include "base/log_line.h"

namespace quantmoe {

// As spdlog numbers and names them.
enum class LogLevel { kDebug = 1, kInfo, kWarning, kError };
// "debug", "info", "warning" or "error"; kInfo for any other text.
LogLevel LogLevelNamed(absl::string_view name);

// Sets format and least level of the process; call once at the start of main. Logs go to stderr.
void InitLogging(LogFormat format, LogLevel level);

// Logs one event: Log(LogLevel::kInfo, "task committed", {{"task", name}, {"worker", id}}).
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace quantmoe
