#include "base/program_exit.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

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

bool IsPath(absl::string_view value) { return !absl::StrContains(value, "://"); }

// The part of an option's value that is text whatever the option is for.
absl::string_view TextOf(absl::string_view type, absl::string_view value) {
  constexpr absl::string_view kPaths[] = {"FILE", "DIR", "FILE|JOB", "OUT_FILE", "OUT_DIR"};
  if (std::find(std::begin(kPaths), std::end(kPaths), type) != std::end(kPaths))
    return IsPath(value) ? "" : value;
  if (type != "NAME=FILE") return value;
  const size_t equals = value.find('=');
  return equals != absl::string_view::npos && IsPath(value.substr(equals)) ? value.substr(0, equals) : value;
}

void CollectDamagedTexts(const CLI::App& app, std::vector<FieldViolation>& violations) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& value : option->results()) {
      const absl::string_view text = TextOf(option->get_type_name(), value);
      if (ValidUtf8(text) == text) continue;
      violations.push_back({option->get_name(), absl::StrCat("is not UTF-8: '", OneLine(text), "'")});
    }
  }
  for (const CLI::App* command : app.get_subcommands()) CollectDamagedTexts(*command, violations);
}

}  // namespace

absl::Status CheckFlagTexts(const CLI::App& app) {
  std::vector<FieldViolation> violations;
  CollectDamagedTexts(app, violations);
  return InvalidFields(std::move(violations));
}

absl::Status CheckFlagsHaveValues(const std::vector<std::string>& arguments) {
  std::vector<FieldViolation> violations;
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    const bool flag = argument.rfind("--", 0) == 0 && argument.find('=') == argument.size() - 1;
    if (flag) violations.push_back({argument, "has no value behind the =: give one, or leave the flag out"});
  }
  return InvalidFields(std::move(violations));
}

const CLI::App& ChosenCommand(const CLI::App& app) {
  const std::vector<const CLI::App*> chosen =
      app.get_subcommands([](const CLI::App* command) { return command->parsed(); });
  return chosen.empty() ? app : ChosenCommand(*chosen.front());
}

std::string CommandPath(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : absl::StrCat(CommandPath(*parent), " ", command.get_name());
}

std::optional<int> ParseFlags(CLI::App& app, int argc, const char* const* argv) {
  const absl::Status values = CheckFlagsHaveValues({argv + 1, argv + argc});
  if (!values.ok()) return ReportExit(app.get_name(), values);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& shown) {
    return app.exit(shown);
  } catch (const CLI::ParseError& error) {
    std::cerr << app.get_name() << ": " << PlainLines(Describe(app, error)) << "\n  hint: `"
              << CommandPath(ChosenCommand(app)) << " --help` shows the flags\n";
    return kInvalid;
  }
  const absl::Status texts = CheckFlagTexts(app);
  if (texts.ok()) return std::nullopt;
  return ReportExit(app.get_name(), texts);
}

std::string DescribeError(absl::string_view program, const absl::Status& status) {
  const ErrorInfo info = GetErrorInfo(status);
  std::string text;
  for (const FieldViolation& violation : info.violations) {
    absl::StrAppend(&text, program, ": ", OneLine(violation.field), ": ", PlainLines(violation.description),
                    "\n");
  }
  if (info.violations.empty()) absl::StrAppend(&text, program, ": ", PlainLines(status.message()), "\n");
  // Without a reason of its own an error carries the name of its code, which says nothing new.
  if (info.reason != absl::StatusCodeToString(status.code()))
    absl::StrAppend(&text, "  reason: ", OneLine(info.reason), "\n");
  return text;
}

int ReportExit(absl::string_view program, const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << DescribeError(program, status);
  return absl::IsInvalidArgument(status) ? kInvalid : kFailed;
}

int FinishOutput(absl::string_view program, std::ostream& out, int code) {
  errno = 0;
  const bool written = out.flush().good();
  if (written || code != 0 || errno == EPIPE) return code;
  const std::string why = errno == 0 ? "" : absl::StrCat(": ", std::strerror(errno));
  return ReportExit(program, absl::UnknownError(absl::StrCat("cannot write to standard output", why)));
}

}  // namespace quantmoe
