#include "client/commands/command_line.h"

#include <algorithm>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "base/program_exit.h"
#include "base/version.h"
#include "cli/command_files.h"
#include "cli/number_range.h"
#include "cli/spec_flags.h"
#include "client/commands/completion.h"
#include "client/text/error_report.h"
#include "client/text/format.h"

namespace quantmoe {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 the watched job was cancelled, 4 the server "
    "cannot be\n"
    "reached or did not answer in time, 130 Ctrl-C. `quantmoe COMMAND --help` shows the flags of a command.\n"
    "Colours: in a terminal, unless NO_COLOR is set.";

void AddGlobalFlags(CLI::App& app, CommandContext& context) {
  ConnectionOptions& connection = context.connection;
  app.add_option("--server", connection.server, "Address of the server")
      ->envname("QUANTMOE_SERVER")
      ->capture_default_str()
      ->type_name("ADDR");
  app.add_flag("--json", context.json, "Print JSON: one document, or one event a line");
  app.add_option("--tls-ca", connection.tls_ca, "Use TLS and trust this authority (PEM)")
      ->envname("QUANTMOE_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-cert", connection.tls_certificate, "Certificate of this client (PEM)")
      ->type_name("FILE");
  app.add_option("--tls-key", connection.tls_key, "Key of that certificate (PEM)")->type_name("FILE");
  app.add_option("--token-file", connection.token_file, "Bearer token to send")
      ->envname("QUANTMOE_TOKEN_FILE")
      ->type_name("FILE");
  app.add_option_function<double>(
         "--timeout", [&connection](double seconds) { connection.timeout = absl::Seconds(seconds); },
         "Seconds to wait for each answer (30)")
      ->check(cli::Within(Above(0)))
      ->type_name("SECONDS");
}

std::string FirstWord(const CLI::App& app) {
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    if (!word.empty() && word.front() != '-') return word;
  }
  return "";
}

// What is wrong with the arguments, with the nearest command when one is misspelled.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& group = ChosenCommand(app);
  const bool needs_command = !group.get_subcommands([](const CLI::App*) { return true; }).empty();
  const std::string word = needs_command ? FirstWord(app) : "";
  const std::string path = CommandPath(group);
  const std::string help = absl::StrCat("  hint: `", path, " --help` shows the usage\n");
  if (word.empty()) return absl::StrCat("quantmoe: ", Printable(error.what()), "\n", help);
  const std::string unknown = absl::StrCat("quantmoe: there is no command '", Printable(word), "'\n");
  const std::string nearest = NearestCommand(group, word);
  return nearest.empty() ? absl::StrCat(unknown, help)
                         : absl::StrCat(unknown, "  hint: did you mean `", path, " ", nearest, "`?\n");
}

}  // namespace

void BuildCommandLine(CLI::App& app, CommandContext& context) {
  app.description("quantmoe: quantize Mixture-of-Experts models under a bit budget");
  app.name("quantmoe");
  app.footer(kFooter);
  app.require_subcommand(1);
  // Global flags may also come after the command.
  app.fallthrough();
  app.set_help_flag("-h,--help", "Print this help");
  app.set_version_flag("--version", absl::StrCat("quantmoe ", kProgramVersion),
                       "Print the version of this client");
  AddGlobalFlags(app, context);
  AddSubmitCommands(app, context);
  AddWatchCommand(app, context);
  AddWaitCommand(app, context);
  AddJobCommands(app, context);
  AddPlanCommands(app, context);
  AddCompareCommand(app, context);
  AddArtifactCommands(app, context);
  AddCatalogCommands(app, context);
  AddSystemCommands(app, context);
  AddCompletionCommand(app, context);
}

int RunCommandLine(const std::vector<std::string>& arguments, CommandContext& context) {
  CLI::App app;
  BuildCommandLine(app, context);
  if (const absl::Status values = CheckFlagsHaveValues(arguments); !values.ok()) {
    context.err << RenderError(values, context.connection.server);
    return kExitInvalid;
  }
  try {
    // CLI11 takes the arguments in reverse.
    const std::vector<std::string> joined = cli::JoinSwitchValues(arguments);
    app.parse(std::vector<std::string>(joined.rbegin(), joined.rend()));
  } catch (const CLI::Success& told) {  // --help and --version
    app.exit(told, context.out, context.err);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    context.err << UsageError(app, error);
    return kExitInvalid;
  }
  absl::Status usable = CheckFlagTexts(app);
  usable.Update(CheckCommandFiles(app));
  const absl::StatusOr<int> code = usable.ok() ? context.action() : usable;
  if (code.ok()) return *code;
  context.err << (context.json ? ErrorJson(code.status())
                               : RenderError(code.status(), context.connection.server));
  return ExitCodeOf(code.status());
}

}  // namespace quantmoe
