// How an event of the log reads, apart from where it goes. Values may be any bytes: they are escaped, and in
// plain text quoted where they hold a space, so that none can forge a line or a field.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

#include "base/log.h"

namespace quantmoe {

// The line of one event, without its end.
std::string RenderLogLine(LogFormat format, LogLevel level, absl::string_view message,
                          std::initializer_list<LogField> fields);

}  // namespace quantmoe
