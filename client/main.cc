// The program `quantmoe`: terminal and signals; everything else is in command_line.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include <sys/ioctl.h>

#include "base/crash_report.h"
#include "base/exception_text.h"
#include "base/program_exit.h"
#include "client/commands/command_line.h"

namespace {

std::atomic<bool> interrupted = false;

// The first Ctrl-C asks a watch to detach; the second one ends the process as usual.
extern "C" void OnInterrupt(int) {
  interrupted = true;
  std::signal(SIGINT, SIG_DFL);
}

int TerminalColumns() {
  if (isatty(STDOUT_FILENO) == 0) return 0;
  winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// https://no-color.org: any value that is not empty turns colours off.
bool ShowsColors() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool refused = no_color != nullptr && *no_color != '\0';
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return isatty(STDOUT_FILENO) != 0 && !refused && !dumb;
}

std::optional<bool> Confirm(const std::string& question) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) return std::nullopt;
  std::cerr << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

int main(int argc, char** argv) {
  quantmoe::InstallCrashReport(argv[0]);
  quantmoe::CommandContext context(std::cout, std::cerr);
  context.terminal_columns = TerminalColumns;
  context.palette = quantmoe::Palette(ShowsColors());
  context.confirm = Confirm;
  context.interrupted = [] {
    // Installed by the first question, so that Ctrl-C ends every command that never asks.
    static const auto installed = std::signal(SIGINT, OnInterrupt);
    static_cast<void>(installed);
    return interrupted.load();
  };
  try {
    return quantmoe::FinishOutput("quantmoe", std::cout,
                                  quantmoe::RunCommandLine({argv + 1, argv + argc}, context));
  } catch (const std::exception& error) {
    std::cerr << quantmoe::DescribeError("quantmoe", absl::InternalError(quantmoe::ExceptionText(error)));
    return 1;
  }
}
