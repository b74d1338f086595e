// quantmoe.v1.JobService: decode, call, encode.
#pragma once

#include "quantmoe/v1/jobs.grpc.pb.h"
#include "server/service_context.h"
#include "server/wire/unary_call.h"

namespace quantmoe {

class JobServiceHandler final : public v1::JobService::CallbackService {
 public:
  explicit JobServiceHandler(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext*, const v1::CreateJobRequest*,
                                      v1::Job*) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext*, const v1::GetJobRequest*, v1::Job*) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext*, const v1::ListJobsRequest*,
                                     v1::ListJobsResponse*) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext*, const v1::CancelJobRequest*,
                                      v1::Job*) override;
  grpc::ServerUnaryReactor* RetryJob(grpc::CallbackServerContext*, const v1::RetryJobRequest*,
                                     v1::Job*) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext*, const v1::DeleteJobRequest*,
                                      v1::DeleteJobResponse*) override;
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(grpc::CallbackServerContext*,
                                                   const v1::WatchJobRequest*) override;
  grpc::ServerUnaryReactor* ListJobEvents(grpc::CallbackServerContext*, const v1::ListJobEventsRequest*,
                                          v1::ListJobEventsResponse*) override;
  grpc::ServerUnaryReactor* ListTasks(grpc::CallbackServerContext*, const v1::ListTasksRequest*,
                                      v1::ListTasksResponse*) override;
  grpc::ServerUnaryReactor* GetJobReport(grpc::CallbackServerContext*, const v1::GetJobReportRequest*,
                                         v1::JobReport*) override;
  grpc::ServerUnaryReactor* EstimateJob(grpc::CallbackServerContext*, const v1::EstimateJobRequest*,
                                        v1::Estimate*) override;
  grpc::ServerUnaryReactor* GetJobPareto(grpc::CallbackServerContext* call,
                                         const v1::GetJobParetoRequest* request,
                                         v1::JobPareto* response) override;

 private:
  // A body that needs an existing job; NOT_FOUND JOB_NOT_FOUND otherwise.
  grpc::ServerUnaryReactor* WithJob(UnaryReply reply, const std::string& name,
                                    std::function<absl::Status(const Job&)> body);
  // Opens the model on the executor, then creates the job on the loop.
  void OpenAndCreate(UnaryReply reply, NewJob job, v1::Job* response, bool validate_only);

  ServiceContext& context_;
};

}  // namespace quantmoe
