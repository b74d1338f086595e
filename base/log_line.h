// How an event of the log reads, apart from where it goes. Values may be any bytes: they are escaped, and in
// plain text quoted where they hold a space, so that none can forge a line or a field.
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

// The line of one event, without its end.
std::string RenderLogLine(LogFormat format, LogLevel level, absl::string_view message,
                          std::initializer_list<LogField> fields);

}  // namespace quantmoe
