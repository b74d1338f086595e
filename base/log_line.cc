#include "base/log_line.h"

#include "absl/strings/str_replace.h"
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace quantmoe {
namespace {

// In quotes when a reader could not tell where the value ends. A value can begin neither a line nor a field.
std::string Quoted(const std::string& value) {
  std::string line = OneLine(absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}));
  if (line == value && value.find_first_of(" =") == std::string::npos) return line;
  return absl::StrCat("\"", line, "\"");
}

std::string JsonMembers(absl::string_view message, std::initializer_list<LogField> fields) {
  nlohmann::ordered_json json = {{"msg", std::string(message)}};
  for (const LogField& field : fields) json[field.key] = field.value;
  const std::string object = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // JSON leaves DEL and the C1 controls as they are; escaped they are the same text.
  return OneLine(object.substr(1, object.size() - 2));
}

}  // namespace

std::string RenderLogEvent(LogFormat format, absl::string_view message,
                           std::initializer_list<LogField> fields) {
  if (format == LogFormat::kJson) return JsonMembers(message, fields);
  std::string line = OneLine(message);
  for (const LogField& field : fields) absl::StrAppend(&line, " ", field.key, "=", Quoted(field.value));
  return line;
}

}  // namespace quantmoe
