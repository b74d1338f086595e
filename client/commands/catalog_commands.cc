// heuristics, profiles, inspect: what the service knows.
#include <memory>
#include <ostream>

#include "base/status_macros.h"
#include "cli/read_spec.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"
#include "client/text/json_text.h"
#include "client/text/resource_text.h"

namespace quantmoe {
namespace {

absl::StatusOr<int> Heuristics(CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListHeuristicsResponse response,
                   connection->CallWithRetry(connection->catalog(), &v1::CatalogService::Stub::ListHeuristics,
                                             v1::ListHeuristicsRequest()));
  context.Print(response, RenderHeuristics(response));
  return kExitOk;
}

absl::StatusOr<int> Profiles(CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListProfilesResponse response,
                   connection->CallWithRetry(connection->catalog(), &v1::CatalogService::Stub::ListProfiles,
                                             v1::ListProfilesRequest()));
  context.Print(response, RenderProfiles(response));
  return kExitOk;
}

absl::StatusOr<int> Inspect(CommandContext& context, const std::string& model) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::InspectModelRequest request;
  request.mutable_model()->set_uri(cli::AbsoluteModelUri(model));
  ASSIGN_OR_RETURN(
      const v1::InspectModelResponse response,
      connection->CallWithRetry(connection->catalog(), &v1::CatalogService::Stub::InspectModel, request));
  context.out << (context.json ? response.json() + "\n" : RenderJson(response.json()));
  return kExitOk;
}

}  // namespace

void AddCatalogCommands(cli::Command app, CommandContext& context) {
  AddCommand(app, context, "heuristics", "List heuristics and their parameters",
             [&context] { return Heuristics(context); });
  AddCommand(app, context, "profiles", "List runtime profiles: what target loaders can run",
             [&context] { return Profiles(context); });
  const auto model = std::make_shared<std::string>();
  AddCommand(app, context, "inspect", "Show what a model is made of",
             [&context, model] { return Inspect(context, *model); })
      .Add("--model,model", *model, "Directory or URI of the model")
      .Required()
      .Type("MODEL_URI");
}

}  // namespace quantmoe
