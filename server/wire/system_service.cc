#include "server/wire/system_service.h"

#include "base/status_macros.h"
#include "base/version.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic.h"
#include "plan/model/family.h"
#include "server/report/job_view.h"
#include "server/wire/page_room.h"
#include "server/wire/page_token.h"
#include "server/wire/unary_call.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "SystemService";
constexpr char kWorkerPages[] = "ListWorkers";
constexpr int kWidths[] = {2, 3, 4, 8};

}  // namespace

v1::Worker SystemServiceHandler::View(const WorkerFacts& worker) const {
  return ViewWorker(worker, context_.facts.table(), limits_, context_.clock.Monotonic());
}

// The cursor is the id of the last worker shown: who comes or goes meanwhile moves nobody to another page.
absl::Status SystemServiceHandler::ListWorkerPage(const v1::ListWorkersRequest& request,
                                                  v1::ListWorkersResponse& response) const {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), kMaxPageSize, kMaxPageSize));
  ASSIGN_OR_RETURN(const std::string shown, DecodeTextPageToken(kWorkerPages, request.page_token()));
  const WorkerTable& workers = context_.links.table();
  PageRoom room(size);
  for (auto it = workers.upper_bound(shown); it != workers.end(); ++it) {
    v1::Worker entry = View(it->second);
    if (!room.Take(entry)) {
      response.set_next_page_token(EncodeTextPageToken(kWorkerPages, response.workers().rbegin()->id()));
      break;
    }
    *response.add_workers() = std::move(entry);
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* SystemServiceHandler::GetCapabilities(grpc::CallbackServerContext* call,
                                                                const v1::GetCapabilitiesRequest* request,
                                                                v1::Capabilities* response) {
  UnaryReply reply(context_, call, *request, kService, "GetCapabilities");
  response->set_version(kProgramVersion);
  response->set_api_version(kApiVersion);
  for (const Family& family : Families()) response->add_families(std::string(family.model_type));
  for (const Heuristic& heuristic : Heuristics()) response->add_heuristics(heuristic.name);
  for (const RuntimeProfile& profile : RuntimeProfiles()) response->add_profiles(profile.name);
  for (const int width : kWidths) response->add_widths(width);
  response->set_max_chunk_bytes(static_cast<int32_t>(kMaxChunkBytes));
  response->set_data_dir(context_.data_dir);
  reply.Finish(absl::OkStatus());
  return reply.reactor();
}

grpc::ServerUnaryReactor* SystemServiceHandler::ListWorkers(grpc::CallbackServerContext* call,
                                                            const v1::ListWorkersRequest* request,
                                                            v1::ListWorkersResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListWorkers");
  FinishOnLoop(context_, reply, [this, request, response] {
    loop_thread.AssertHeld();
    return ListWorkerPage(*request, *response);
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* SystemServiceHandler::DrainWorker(grpc::CallbackServerContext* call,
                                                            const v1::DrainWorkerRequest* request,
                                                            v1::Worker* response) {
  UnaryReply reply(context_, call, *request, kService, "DrainWorker");
  FinishOnLoop(context_, reply, [this, request, response]() -> absl::Status {
    loop_thread.AssertHeld();
    RETURN_IF_ERROR(context_.sessions.Drain(request->id()));
    *response = View(context_.links.table().at(request->id()));
    return absl::OkStatus();
  });
  return reply.reactor();
}

}  // namespace quantmoe
