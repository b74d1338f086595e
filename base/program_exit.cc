#include "base/program_exit.h"

#include <iostream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <CLI/CLI.hpp>

#include "base/error_info.h"
#include "base/text.h"

namespace quantmoe {
namespace {

constexpr int kFailed = 1;
constexpr int kInvalid = 2;

// CLI11 names neither the file nor the trouble when a configuration file has a name that is no flag.
std::string Describe(const CLI::App& app, const CLI::ParseError& error) {
  absl::string_view what = error.what();
  if (!absl::ConsumePrefix(&what, "INI was not able to parse ")) return error.what();
  const CLI::Option* config = app.get_config_ptr();
  const std::string file = config == nullptr ? "" : config->as<std::string>();
  return absl::StrCat("--config ", file, ": there is no option '", what, "'");
}

}  // namespace

std::optional<int> ParseFlags(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& shown) {
    return app.exit(shown);
  } catch (const CLI::ParseError& error) {
    std::cerr << app.get_name() << ": " << Describe(app, error) << "\n  hint: `" << app.get_name()
              << " --help` shows the flags\n";
    return kInvalid;
  }
}

int ReportExit(absl::string_view program, const absl::Status& status) {
  if (status.ok()) return 0;
  const ErrorInfo info = GetErrorInfo(status);
  for (const FieldViolation& violation : info.violations) {
    std::cerr << program << ": " << OneLine(violation.field) << ": " << PlainLines(violation.description)
              << "\n";
  }
  if (info.violations.empty()) std::cerr << program << ": " << PlainLines(status.message()) << "\n";
  if (info.reason != absl::StatusCodeToString(status.code()))
    std::cerr << "  reason: " << OneLine(info.reason) << "\n";
  return absl::IsInvalidArgument(status) ? kInvalid : kFailed;
}

}  // namespace quantmoe
