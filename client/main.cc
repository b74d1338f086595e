// The program `quantmoe`: terminal and signals; everything else is in command_line.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iostream>

#include <sys/ioctl.h>

#include "client/command_line.h"

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

}  // namespace

int main(int argc, char** argv) {
  quantmoe::CommandContext context(std::cout, std::cerr);
  context.terminal_columns = TerminalColumns;
  context.interrupted = [] {
    // Installed by the first question, so that Ctrl-C ends every command that never asks.
    static const auto installed = std::signal(SIGINT, OnInterrupt);
    static_cast<void>(installed);
    return interrupted.load();
  };
  return quantmoe::RunCommandLine({argv + 1, argv + argc}, context);
}
