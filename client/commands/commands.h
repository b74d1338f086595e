// What every command shares, and one function per group that adds its commands. A command's callback only
// stores what to do in CommandContext::action, so that parsing and doing stay apart.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include <google/protobuf/message.h>

#include "cli/command.h"
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
cli::Command AddCommand(cli::Command parent, CommandContext& context, const std::string& name,
                        const std::string& help, std::function<absl::StatusOr<int>()> run);

void AddSubmitCommands(cli::Command app, CommandContext& context);  // submit, estimate
void AddJobCommands(cli::Command app,
                    CommandContext& context);  // list, get, describe, tasks, events, cancel, ...
void AddWatchCommand(cli::Command app, CommandContext& context);  // watch
void AddWaitCommand(cli::Command app, CommandContext& context);   // wait
void AddPlanCommands(cli::Command app, CommandContext& context);  // pareto, plan diff
void AddCompareCommand(cli::Command app, CommandContext& context);
void AddArtifactCommands(cli::Command app, CommandContext& context);  // artifact list, show, download, verify
void AddCatalogCommands(cli::Command app, CommandContext& context);   // heuristics, profiles, inspect
void AddSystemCommands(cli::Command app,
                       CommandContext& context);  // workers, drain, capabilities, health, version
void AddCompletionCommand(cli::Command app, CommandContext& context);

// Watches a job to its end and gives the exit code of its outcome.
absl::StatusOr<int> WatchToEnd(CommandContext& context, const Connection& connection,
                               const WatchOptions& options);

// WriteOutputFile of storage/output_directory.h.
absl::Status WriteFile(const std::string& path, const std::string& text);

// `prefix/id` of an id or of a full name.
std::string ResourceName(const std::string& prefix, const std::string& text);

}  // namespace quantmoe
