#include "server/wire/catalog_service.h"

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic.h"
#include "plan/job/presets.h"
#include "server/wire/job_requests.h"
#include "server/wire/unary_call.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "CatalogService";

}  // namespace

grpc::ServerUnaryReactor* CatalogServiceHandler::ListHeuristics(grpc::CallbackServerContext* call,
                                                                const v1::ListHeuristicsRequest* request,
                                                                v1::ListHeuristicsResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListHeuristics");
  for (const Heuristic& heuristic : Heuristics()) {
    v1::HeuristicInfo& info = *response->add_heuristics();
    info.set_name(heuristic.name);
    info.set_description(heuristic.description);
    for (const HeuristicParam& param : heuristic.params) {
      (*info.mutable_params())[param.name] = param.description;
    }
  }
  for (const Preset& preset : Presets()) {
    v1::PresetInfo& info = *response->add_presets();
    info.set_name(preset.name);
    info.set_description(preset.description);
    info.set_heuristic(preset.heuristic);
    info.mutable_params()->insert(preset.params.begin(), preset.params.end());
    info.set_average_bits(preset.average_bits);
  }
  reply.Finish(absl::OkStatus());
  return reply.reactor();
}

grpc::ServerUnaryReactor* CatalogServiceHandler::ListProfiles(grpc::CallbackServerContext* call,
                                                              const v1::ListProfilesRequest* request,
                                                              v1::ListProfilesResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListProfiles");
  for (const RuntimeProfile& profile : RuntimeProfiles()) {
    v1::ProfileInfo& info = *response->add_profiles();
    info.set_name(profile.name);
    info.set_description(profile.description);
    info.mutable_widths()->Add(profile.widths.begin(), profile.widths.end());
    info.mutable_group_sizes()->Add(profile.group_sizes.begin(), profile.group_sizes.end());
  }
  reply.Finish(absl::OkStatus());
  return reply.reactor();
}

grpc::ServerUnaryReactor* CatalogServiceHandler::InspectModel(grpc::CallbackServerContext* call,
                                                              const v1::InspectModelRequest* request,
                                                              v1::InspectModelResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "InspectModel");
  RunIn(context_.rooms.For(request->model().uri()), reply, [this, reply, request, response] {
    auto json = InspectModelAt(context_, request->model().uri());
    if (json.ok()) response->set_json(*json);
    reply.Finish(json.status());
  });
  return reply.reactor();
}

}  // namespace quantmoe
