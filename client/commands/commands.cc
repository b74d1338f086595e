#include "client/commands/commands.h"

#include <ostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client/text/json_output.h"
#include "storage/output_directory.h"

namespace quantmoe {

absl::StatusOr<std::unique_ptr<Connection>> CommandContext::Connect() const {
  std::unique_ptr<Connection> opened;
  if (channel != nullptr) {
    opened = std::make_unique<Connection>(channel, connection.timeout, "");
  } else {
    ASSIGN_OR_RETURN(opened, Connection::Open(connection));
  }
  opened->set_backoff(backoff);
  return opened;
}

void CommandContext::Print(const google::protobuf::Message& message, const std::string& text) const {
  out << (json ? JsonDocument(message) : text) << std::flush;
}

cli::Command AddCommand(cli::Command parent, CommandContext& context, const std::string& name,
                        const std::string& help, std::function<absl::StatusOr<int>()> run) {
  cli::Command command = parent.AddCommand(name, help);
  command.OnParsed([&context, run = std::move(run)] { context.action = run; });
  return command;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  return WriteOutputFile(path, text);
}

std::string ResourceName(const std::string& prefix, const std::string& text) {
  return absl::StartsWith(text, absl::StrCat(prefix, "/")) ? text : absl::StrCat(prefix, "/", text);
}

}  // namespace quantmoe
