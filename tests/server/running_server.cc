#include "tests/server/running_server.h"

#include <algorithm>
#include <chrono>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::Job::SUCCEEDED || job.state() == v1::Job::FAILED ||
         job.state() == v1::Job::CANCELLED;
}

}  // namespace

std::unique_ptr<grpc::ClientContext> WithDeadline(absl::Duration deadline) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  return context;
}

CoordinatorOptions RunningServer::QuickOptions() {
  CoordinatorOptions options;
  options.lease = absl::Seconds(30);
  options.heartbeat = absl::Seconds(10);
  options.tick = absl::Milliseconds(10);
  options.disk_reserve_bytes = 256 << 10;
  return options;
}

RunningServer::RunningServer(CoordinatorOptions options) : options_(std::move(options)) {
  options_.data_dir = dir_.path();
  options_.models.roots.push_back(QUANTMOE_TESTDATA);
  Start();
}

RunningServer::~RunningServer() { Stop(); }

void RunningServer::Stop() { coordinator_.reset(); }

void RunningServer::Start() {
  auto started = Coordinator::Start(options_);
  ASSERT_OK(started);
  coordinator_ = *std::move(started);
  const auto channel = grpc::CreateChannel(coordinator_->address(), grpc::InsecureChannelCredentials());
  jobs_ = v1::JobService::NewStub(channel);
  artifacts_ = v1::ArtifactService::NewStub(channel);
  blobs_ = v1::BlobService::NewStub(channel);
  catalog_ = v1::CatalogService::NewStub(channel);
  system_ = v1::SystemService::NewStub(channel);
}

v1::CreateJobRequest RunningServer::TinyJob() {
  v1::CreateJobRequest request;
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  spec.mutable_model()->set_uri(QUANTMOE_TESTDATA "/tiny-qwen2-moe");
  spec.mutable_budget()->set_average_bits(3.5);
  spec.mutable_heuristic()->set_name("optimal");
  spec.set_effort(0);
  return request;
}

std::string RunningServer::CreateTinyJob() {
  v1::Job job;
  const grpc::Status status = jobs_->CreateJob(WithDeadline().get(), TinyJob(), &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job.name();
}

v1::Job RunningServer::GetJob(const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  v1::Job job;
  const grpc::Status status = jobs_->GetJob(WithDeadline().get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

v1::Job RunningServer::AwaitEnd(const std::string& name) { return AwaitJob(name, HasEnded); }

v1::Job RunningServer::AwaitJob(const std::string& name, const std::function<bool(const v1::Job&)>& done) {
  // Each event or progress report of the watch is a reason to look again.
  auto context = WithDeadline(kPatience);
  v1::WatchJobRequest request;
  request.set_name(name);
  auto watch = jobs_->WatchJob(context.get(), request);
  v1::JobEvent event;
  while (watch->Read(&event)) {
    v1::Job job = GetJob(name);
    if (!done(job)) continue;
    context->TryCancel();
    (void)watch->Finish();
    return job;
  }
  (void)watch->Finish();
  v1::Job job = GetJob(name);
  EXPECT_TRUE(done(job)) << job.ShortDebugString();
  return job;
}

bool AllCached(const v1::Job& job) {
  const auto& stages = job.progress().stages();
  return std::all_of(stages.begin(), stages.end(), [](const auto& stage) {
    return stage.tasks_total() > 0 && stage.tasks_cached() == stage.tasks_total();
  });
}

}  // namespace quantmoe
