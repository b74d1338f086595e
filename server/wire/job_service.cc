#include "server/wire/job_service.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/crash_point.h"
#include "base/status_macros.h"
#include "plan/graph/job_estimate.h"
#include "proto/job_spec_proto.h"
#include "server/facts/resource_names.h"
#include "server/loop/publisher.h"
#include "server/report/job_pareto.h"
#include "server/report/job_report.h"
#include "server/report/job_view.h"
#include "server/wire/job_data.h"
#include "server/wire/job_reader.h"
#include "server/wire/job_requests.h"
#include "server/wire/page_token.h"
#include "server/wire/watch_stream.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "JobService";

absl::Status NotTerminal(absl::string_view name) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "JOB_NOT_TERMINAL",
                   absl::StrCat(name, " has not ended"), {{"name", std::string(name)}});
}

absl::Status NothingToRetry(absl::string_view name) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "JOB_SUCCEEDED",
                   absl::StrCat(name, " has succeeded: there is nothing to retry"),
                   {{"name", std::string(name)}});
}

}  // namespace

grpc::ServerUnaryReactor* JobServiceHandler::WithJob(UnaryReply reply, const std::string& name,
                                                     std::function<absl::Status(const Job&)> body) {
  FinishOnLoop(context_, reply, [this, name, body = std::move(body)]() -> absl::Status {
    loop_thread.AssertHeld();
    ASSIGN_OR_RETURN(const std::string id, ParseJobName(name));
    const Job* job = context_.facts.table().Find(id);
    return job == nullptr ? JobNotFound(name) : body(*job);
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::CreateJob(grpc::CallbackServerContext* call,
                                                       const v1::CreateJobRequest* request,
                                                       v1::Job* response) {
  UnaryReply reply(context_, call, *request, kService, "CreateJob");
  NewJob job;
  job.id = request->job_id();
  job.display_name = request->job().display_name();
  job.labels.insert(request->job().labels().begin(), request->job().labels().end());
  job.spec = request->job().spec();
  job.request_id = request->request_id();
  job.request_hash = RequestHash(*request);
  // A repeated request is answered from the job, even if its model has gone meanwhile.
  RunOnLoop(context_, reply, [this, reply, request, response, job = std::move(job)] {
    loop_thread.AssertHeld();
    const auto replay = context_.jobs.FindReplay(job.request_id, job.request_hash);
    if (!replay.ok()) return reply.Finish(replay.status());
    if (!replay->empty()) {
      *response = ViewWholeJob(*context_.facts.table().Find(*replay));
      return context_.loop.AfterCommit([reply](const absl::Status& committed) { reply.Finish(committed); });
    }
    if (const absl::Status free = context_.jobs.CheckFree(job.id); !free.ok()) {
      return context_.loop.AfterCommit(
          [reply, free](const absl::Status& committed) { reply.Finish(committed.ok() ? free : committed); });
    }
    // What a deleted job of this id has published is not in the way: the new one waits until it is gone.
    const bool check_place = !job.id.empty() && !context_.jobs.IsPublishing(job.id);
    RunIn(context_.rooms.For(job.spec), reply, [this, reply, request, response, job, check_place] {
      v1::CreateJobRequest filled = *request;
      absl::Status status = FetchJobData(context_, *filled.mutable_job()->mutable_spec());
      if (status.ok()) status = CheckRequest(context_, filled);
      if (status.ok() && check_place) status = CheckPlace(context_.artifacts_dir, job.id);
      if (!status.ok()) return reply.Finish(status);
      NewJob with_data = job;
      with_data.spec = filled.job().spec();
      OpenAndCreate(reply, std::move(with_data), response, request->validate_only());
    });
  });
  return reply.reactor();
}

void JobServiceHandler::OpenAndCreate(UnaryReply reply, NewJob job, v1::Job* response, bool validate_only) {
  auto resolved = OpenSpec(context_, job.spec);
  if (!resolved.ok()) return reply.Finish(resolved.status());
  job.warnings = EstimateWork(**resolved).warnings;
  if (validate_only) {
    *response->mutable_spec() = job.spec;
    *response->mutable_resolved_spec() = JobSpecToProto((*resolved)->spec);
    response->mutable_warnings()->Add(job.warnings.begin(), job.warnings.end());
    response->set_display_name(job.display_name);
    response->mutable_labels()->insert(job.labels.begin(), job.labels.end());
    return reply.Finish(absl::OkStatus());
  }
  if (const absl::Status room = context_.disk.CheckRoom(); !room.ok()) return reply.Finish(room);
  job.model_json = DescribeModel(**resolved);
  job.resolved = *std::move(resolved);
  FinishOnLoop(context_, reply, [this, response, job = std::move(job)]() -> absl::Status {
    loop_thread.AssertHeld();
    ASSIGN_OR_RETURN(const std::string id, context_.jobs.Create(job));
    context_.loop.AfterCommit([](const absl::Status&) { CrashPoint("after-create-commit"); });
    *response = ViewWholeJob(*context_.facts.table().Find(id));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobServiceHandler::GetJob(grpc::CallbackServerContext* call,
                                                    const v1::GetJobRequest* request, v1::Job* response) {
  return WithJob(UnaryReply(context_, call, *request, kService, "GetJob"), request->name(),
                 [response](const Job& job) {
                   *response = ViewWholeJob(job);
                   return absl::OkStatus();
                 });
}

grpc::ServerUnaryReactor* JobServiceHandler::ListJobs(grpc::CallbackServerContext* call,
                                                      const v1::ListJobsRequest* request,
                                                      v1::ListJobsResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListJobs");
  FinishOnLoop(context_, reply, [this, request, response] {
    loop_thread.AssertHeld();
    return ListJobPage(context_.facts.table(), *request, *response);
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::CancelJob(grpc::CallbackServerContext* call,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  return WithJob(UnaryReply(context_, call, *request, kService, "CancelJob"), request->name(),
                 [this, request, response](const Job& job) -> absl::Status {
                   loop_thread.AssertHeld();
                   const std::string etag = ViewJob(job).etag();
                   if (!request->etag().empty() && request->etag() != etag) {
                     return MakeError(absl::StatusCode::kAborted, "ETAG_MISMATCH",
                                      absl::StrCat("the job has changed; its etag is ", etag),
                                      {{"etag", etag}});
                   }
                   context_.jobs.Cancel(job.record.id(), request->reason());
                   *response = ViewJob(job);
                   return absl::OkStatus();
                 });
}

grpc::ServerUnaryReactor* JobServiceHandler::RetryJob(grpc::CallbackServerContext* call,
                                                      const v1::RetryJobRequest* request, v1::Job* response) {
  UnaryReply reply(context_, call, *request, kService, "RetryJob");
  RunOnLoop(context_, reply, [this, reply, request, response] {
    loop_thread.AssertHeld();
    const std::string hash = RequestHash(*request);
    const auto replay = context_.jobs.FindReplay(request->request_id(), hash);
    if (!replay.ok()) return reply.Finish(replay.status());
    const auto id = ParseJobName(request->name());
    const Job* old = id.ok() ? context_.facts.table().Find(replay->empty() ? *id : *replay) : nullptr;
    if (old == nullptr) return reply.Finish(JobNotFound(request->name()));
    if (!replay->empty()) {
      *response = ViewWholeJob(*old);
      return context_.loop.AfterCommit([reply](const absl::Status& committed) { reply.Finish(committed); });
    }
    const JobState state = old->record.state();
    if (state == v1::Job::SUCCEEDED) return reply.Finish(NothingToRetry(request->name()));
    if (state != v1::Job::FAILED && state != v1::Job::CANCELLED)
      return reply.Finish(NotTerminal(request->name()));
    NewJob job;
    job.display_name = old->record.display_name();
    job.labels.insert(old->record.labels().begin(), old->record.labels().end());
    job.spec = old->record.spec();
    job.request_id = request->request_id();
    job.request_hash = hash;
    job.parent = old->record.id();
    Executor& room = context_.rooms.For(job.spec);
    RunIn(room, reply, [this, reply, job = std::move(job), response]() mutable {
      // Texts that were lost since are fetched again where that is possible.
      if (const absl::Status data = FetchJobData(context_, job.spec); !data.ok()) return reply.Finish(data);
      OpenAndCreate(reply, job, response, /*validate_only=*/false);
    });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::DeleteJob(grpc::CallbackServerContext* call,
                                                       const v1::DeleteJobRequest* request,
                                                       v1::DeleteJobResponse*) {
  return WithJob(UnaryReply(context_, call, *request, kService, "DeleteJob"), request->name(),
                 [this, request](const Job& job) {
                   loop_thread.AssertHeld();
                   const std::string id = job.record.id();
                   return context_.jobs.Delete(id, request->force());
                 });
}

grpc::ServerWriteReactor<v1::JobEvent>* JobServiceHandler::WatchJob(grpc::CallbackServerContext*,
                                                                    const v1::WatchJobRequest* request) {
  return StartWatch(context_, *request);
}

grpc::ServerUnaryReactor* JobServiceHandler::ListJobEvents(grpc::CallbackServerContext* call,
                                                           const v1::ListJobEventsRequest* request,
                                                           v1::ListJobEventsResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListJobEvents");
  RunOnLoop(context_, reply, [this, reply, request, response] {
    loop_thread.AssertHeld();
    const auto id = ParseJobName(request->name());
    if (!id.ok() || context_.facts.table().Find(*id) == nullptr)
      return reply.Finish(JobNotFound(request->name()));
    RunIn(context_.rooms.reads, reply, [this, reply, id = *id, request, response] {
      reply.Finish(ListEventPage(context_.store(), id, *request, *response));
    });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::ListTasks(grpc::CallbackServerContext* call,
                                                       const v1::ListTasksRequest* request,
                                                       v1::ListTasksResponse* response) {
  return WithJob(UnaryReply(context_, call, *request, kService, "ListTasks"), request->job(),
                 [request, response](const Job& job) { return ListTaskPage(job, *request, *response); });
}

grpc::ServerUnaryReactor* JobServiceHandler::GetJobReport(grpc::CallbackServerContext* call,
                                                          const v1::GetJobReportRequest* request,
                                                          v1::JobReport* response) {
  UnaryReply reply(context_, call, *request, kService, "GetJobReport");
  RunOnLoop(context_, reply, [this, reply, request, response] {
    loop_thread.AssertHeld();
    const auto id = ParseJobName(request->name());
    const Job* job = id.ok() ? context_.facts.table().Find(*id) : nullptr;
    if (job == nullptr) return reply.Finish(JobNotFound(request->name()));
    auto facts = GatherReportFacts(context_.facts.table(), *job, context_.artifacts_dir);
    if (!facts.ok()) return reply.Finish(facts.status());
    RunIn(context_.rooms.reads, reply, [this, reply, facts = *std::move(facts), response] {
      auto json = BuildReport(facts, context_.blobs());
      if (json.ok()) response->set_json(*json);
      reply.Finish(json.status());
    });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::EstimateJob(grpc::CallbackServerContext* call,
                                                         const v1::EstimateJobRequest* request,
                                                         v1::Estimate* response) {
  UnaryReply reply(context_, call, *request, kService, "EstimateJob");
  RunOnLoop(context_, reply, [this, reply, request, response] {
    loop_thread.AssertHeld();
    RunIn(context_.rooms.For(request->spec()), reply,
          [this, reply, request, response, rates = GatherRates(context_)] {
            auto estimate = EstimateSpec(context_, request->spec(), rates);
            if (estimate.ok()) *response = *std::move(estimate);
            reply.Finish(estimate.status());
          });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* JobServiceHandler::GetJobPareto(grpc::CallbackServerContext* call,
                                                          const v1::GetJobParetoRequest* request,
                                                          v1::JobPareto* response) {
  UnaryReply reply(context_, call, *request, kService, "GetJobPareto");
  RunOnLoop(context_, reply, [this, reply, request, response] {
    loop_thread.AssertHeld();
    const JobTable& jobs = context_.facts.table();
    const auto id = ParseJobName(request->name());
    const Job* job = id.ok() ? jobs.Find(*id) : nullptr;
    if (job == nullptr) return reply.Finish(JobNotFound(request->name()));
    auto facts = GatherParetoFacts(jobs, *job, context_.artifacts_dir);
    if (!facts.ok()) return reply.Finish(facts.status());
    // It opens the model.
    RunIn(context_.rooms.For(job->record.spec()), reply,
          [this, reply, facts = *std::move(facts), request, response] {
            auto pareto = BuildPareto(context_, facts, request->points());
            if (pareto.ok()) *response = *std::move(pareto);
            reply.Finish(pareto.status());
          });
  });
  return reply.reactor();
}

}  // namespace quantmoe
