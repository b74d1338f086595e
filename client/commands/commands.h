// What every command shares, and one function per group that adds its commands. A command's callback only
// stores what to do in CommandContext::action, so that parsing and doing stay apart.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>
#include <google/protobuf/message.h>

#include "client/text/format.h"
#include "client/transfer/connection.h"
#include "client/transfer/watch.h"

namespace quantmoe {

struct CommandContext {
  CommandContext(std::ostream& out_stream, std::ostream& err_stream) : out(out_stream), err(err_stream) {}

  // Where output goes; tests give their own.
  std::ostream& out;
  std::ostream& err;
  // Columns of the terminal that `out` is, or 0 when it is none.
  std::function<int()> terminal_columns = [] { return 0; };
  // Paints when `out` is a terminal that shows colours.
  Palette palette;
  // Asks the person at the terminal; nothing when nobody is there to answer.
  std::function<std::optional<bool>(const std::string& question)> confirm = [](const std::string&) {
    return std::optional<bool>();
  };
  // True after Ctrl-C while a job is watched.
  std::function<bool()> interrupted = [] { return false; };
  // Set to use this channel instead of one to `connection.server`.
  std::shared_ptr<grpc::Channel> channel;
  BackoffOptions backoff;

  // Filled by the flags before the command.
  ConnectionOptions connection;
  bool json = false;
  // What the parsed command does; gives its exit code.
  std::function<absl::StatusOr<int>()> action;

  absl::StatusOr<std::unique_ptr<Connection>> Connect() const;
  // Prints the message as JSON with --json, else the text.
  void Print(const google::protobuf::Message& message, const std::string& text) const;
};

// Adds one command with a help line; `run` is called when it is chosen.
CLI::App& AddCommand(CLI::App& parent, CommandContext& context, const std::string& name,
                     const std::string& help, std::function<absl::StatusOr<int>()> run);

void AddSubmitCommands(CLI::App& app, CommandContext& context);  // submit, estimate
void AddJobCommands(CLI::App& app,
                    CommandContext& context);  // list, get, describe, tasks, events, cancel, ...
void AddWatchCommand(CLI::App& app, CommandContext& context);  // watch
void AddWaitCommand(CLI::App& app, CommandContext& context);   // wait
void AddPlanCommands(CLI::App& app, CommandContext& context);  // pareto, plan diff
void AddCompareCommand(CLI::App& app, CommandContext& context);
void AddArtifactCommands(CLI::App& app, CommandContext& context);  // artifact list, show, download, verify
void AddCatalogCommands(CLI::App& app, CommandContext& context);   // heuristics, profiles, inspect
void AddSystemCommands(CLI::App& app,
                       CommandContext& context);  // workers, drain, capabilities, health, version
void AddCompletionCommand(CLI::App& app, CommandContext& context);

// Watches a job to its end and gives the exit code of its outcome.
absl::StatusOr<int> WatchToEnd(CommandContext& context, const Connection& connection,
                               const WatchOptions& options);

// WriteOutputFile of storage/output_directory.h.
absl::Status WriteFile(const std::string& path, const std::string& text);

// `prefix/id` of an id or of a full name.
std::string ResourceName(const std::string& prefix, const std::string& text);

}  // namespace quantmoe
