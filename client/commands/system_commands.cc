// workers, drain, capabilities, health, version: the service itself.
#include <future>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"
#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "base/version.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/resource_text.h"

namespace quantmoe {
namespace {

absl::StatusOr<int> Workers(CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListWorkersResponse all,
                   connection->ListAll(connection->system(), &v1::SystemService::Stub::ListWorkers,
                                       v1::ListWorkersRequest()));
  context.Print(all, RenderWorkers(all));
  return kExitOk;
}

absl::StatusOr<int> Drain(CommandContext& context, const std::string& id) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::DrainWorkerRequest request;
  request.set_id(id);
  ASSIGN_OR_RETURN(
      const v1::Worker worker,
      connection->CallWithRetry(connection->system(), &v1::SystemService::Stub::DrainWorker, request));
  context.Print(worker, absl::StrCat(Printable(worker.id()), " finishes its task and leaves\n"));
  return kExitOk;
}

absl::StatusOr<v1::Capabilities> ReadCapabilities(const Connection& connection) {
  return connection.CallWithRetry(connection.system(), &v1::SystemService::Stub::GetCapabilities,
                                  v1::GetCapabilitiesRequest());
}

absl::StatusOr<int> ShowCapabilities(CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::Capabilities capabilities, ReadCapabilities(*connection));
  context.Print(capabilities, RenderCapabilities(capabilities));
  return kExitOk;
}

// grpc.health.v1.Health/Check without its generated code: a request with a text in field 1 and a response
// with an enum in field 1 have the wire format of StringValue and Int32Value.
absl::StatusOr<int> ServingStatus(const Connection& connection, const std::string& service) {
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(
      connection.channel());
  grpc::ClientContext context;
  connection.Prepare(context, connection.timeout());
  google::protobuf::StringValue request;
  request.set_value(service);
  google::protobuf::Int32Value response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  RETURN_IF_ERROR(FromGrpcStatus(done.get_future().get()));
  return response.value();
}

absl::StatusOr<int> Health(CommandContext& context, const std::string& service) {
  constexpr int kServing = 1;
  constexpr int kNotServing = 2;
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const int status, ServingStatus(*connection, service));
  const char* name = status == kServing ? "SERVING" : status == kNotServing ? "NOT_SERVING" : "UNKNOWN";
  context.out << (context.json ? absl::StrCat("{\"status\": \"", name, "\"}") : name) << "\n";
  return status == kServing ? kExitOk : kExitUnavailable;
}

// The server's version is a bonus: the command works without one.
absl::StatusOr<int> Version(CommandContext& context) {
  std::string server;
  if (const auto connection = context.Connect(); connection.ok()) {
    const auto capabilities = (*connection)
                                  ->Call((*connection)->system(), &v1::SystemService::Stub::GetCapabilities,
                                         v1::GetCapabilitiesRequest());
    if (capabilities.ok()) server = capabilities->version();
  }
  if (context.json) {
    const nlohmann::ordered_json json = {{"client", std::string(kProgramVersion)}, {"server", server}};
    context.out << json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
    return kExitOk;
  }
  const std::string shown =
      server.empty() ? absl::StrCat("not reachable at ", context.connection.server) : Printable(server);
  context.out << "client " << kProgramVersion << "\nserver " << shown << "\n";
  return kExitOk;
}

}  // namespace

void AddSystemCommands(cli::Command app, CommandContext& context) {
  const auto text = std::make_shared<std::string>();
  AddCommand(app, context, "workers", "List workers and what they do",
             [&context] { return Workers(context); });
  AddCommand(app, context, "drain", "Let a worker finish its task and leave",
             [&context, text] { return Drain(context, *text); })
      .Add("worker", *text, "Id of the worker")
      .Required()
      .Type("WORKER");
  AddCommand(app, context, "capabilities", "Show what the server can do",
             [&context] { return ShowCapabilities(context); });
  AddCommand(app, context, "health", "Ask whether the server serves; exit code 4 when it does not",
             [&context, text] { return Health(context, *text); })
      .Add("--service", *text, "One service, such as quantmoe.v1.JobService; all by default");
  AddCommand(app, context, "version", "Print the versions of client and server",
             [&context] { return Version(context); });
}

}  // namespace quantmoe
