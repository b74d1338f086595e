// The flags of the programs that log: what a line looks like, and which are left out. Header only, as
// cli/model_source_flags.h is.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "base/log.h"

namespace quantmoe {

struct LogFlags {
  std::string format = "text", level = "info";
};

inline void AddLogFlags(CLI::App& app, LogFlags& flags) {
  app.add_option("--log-format", flags.format, "text or json")
      ->envname("QUANTMOE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-level", flags.level, "least level that is logged")
      ->envname("QUANTMOE_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
}

inline void InitLogging(const LogFlags& flags) {
  InitLogging(flags.format == "json" ? LogFormat::kJson : LogFormat::kText, LogLevelNamed(flags.level));
}

}  // namespace quantmoe
