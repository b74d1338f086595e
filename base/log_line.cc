#include "base/log_line.h"

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace quantmoe {
namespace {

absl::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "info";
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
  const std::string severity(LogLevelName(level));
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

}  // namespace quantmoe
