// What an event of the log says, apart from when and where. Values may be any bytes: they are escaped, and in
// plain text quoted where they hold a space, so that none can forge a line or a field.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

enum class LogFormat { kText, kJson };

// A field of an event. Values are rendered as text.
struct LogField {
  template <typename T>
  LogField(absl::string_view k, const T& v) : key(k), value(absl::StrCat(v)) {}
  std::string key;
  std::string value;
};

// Message and fields in one line: `job failed job=j1`, or as JSON the members `"msg":"job failed","job":"j1"`
// without the braces around them.
std::string RenderLogEvent(LogFormat format, absl::string_view message,
                           std::initializer_list<LogField> fields);

}  // namespace quantmoe
