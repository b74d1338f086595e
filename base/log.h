// Structured logging: one event per line, JSON for services and plain text for people. Backed by spdlog,
// which no header of ours includes. Thread-safe.
#pragma once

#include <initializer_list>

#include "absl/strings/string_view.h"

#include "base/log_line.h"

namespace quantmoe {

// Sets format and least level of the process; call once at the start of main. Logs go to stderr.
void InitLogging(LogFormat format, LogLevel level);

// Logs one event: Log(LogLevel::kInfo, "task committed", {{"task", name}, {"worker", id}}).
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace quantmoe
