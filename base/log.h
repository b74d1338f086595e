// Structured logging: one event per line, JSON for services and plain text for people. Backed by spdlog,
// which no header of ours includes. Thread-safe.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// A field of an event. Values are rendered as text.
struct LogField {
  template <typename T>
  LogField(absl::string_view k, const T& v) : key(k), value(absl::StrCat(v)) {}
  std::string key;
  std::string value;
};

// Sets format and least level of the process; call once at the start of main. Logs go to stderr.
void InitLogging(LogFormat format, LogLevel level);

// Logs one event: Log(LogLevel::kInfo, "task committed", {{"task", name}, {"worker", id}}).
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace quantmoe
