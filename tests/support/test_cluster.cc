#include "tests/support/test_cluster.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(3);

// A context with a deadline that waits for a coordinator that is just starting.
std::unique_ptr<grpc::ClientContext> MakeContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  context->set_wait_for_ready(true);
  return context;
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(kPollInterval);  // between two looks; nothing is assumed to happen meanwhile
  }
  return true;
}

TestCluster::TestCluster(Options options) : options_(options) {
  StartCoordinator();
  for (int i = 0; i < options_.workers; ++i) AddWorker();
}

TestCluster::~TestCluster() {
  tasks_.Release();
  for (auto& [name, member] : workers_) member.worker.reset();
  StopCoordinator();
}

std::string TestCluster::AddWorker() {
  std::string name = absl::StrCat("w", workers_.size());
  Member& member = workers_[name];
  member.clock = std::make_unique<FreezableClock>();
  Worker::Options options;
  options.coordinator.address = worker_address_;
  options.worker_id = name;
  options.determinism_class = "synthetic";
  options.memory_bytes = int64_t{8} << 30;
  options.run_task = tasks_.For(name);
  options.blob_mode = options_.blob_mode;
  options.scratch_dir = dir_ / name;
  options.reconnect_holding = {
      .initial = absl::Milliseconds(10), .maximum = absl::Milliseconds(100), .multiplier = 2};
  options.reconnect_idle = options.reconnect_holding;
  options.clock = member.clock.get();
  auto worker = Worker::Start(std::move(options));
  EXPECT_OK(worker);
  member.worker = *std::move(worker);
  return name;
}

void TestCluster::KillWorker(const std::string& name) { worker(name).Stop(); }

void TestCluster::AwaitWorkers(int connected) {
  EXPECT_TRUE(WaitUntil([&] {
    v1::ListWorkersResponse response;
    system_->ListWorkers(MakeContext().get(), {}, &response);
    return response.workers_size() == connected;
  })) << "there are not "
      << connected << " workers";
}

void TestCluster::StartCoordinator() {
  CoordinatorOptions options;
  options.listen_address = client_address_;
  options.worker_listen_address = worker_address_;
  options.data_dir = dir_ / "data";
  options.models.roots = {QUANTMOE_TESTDATA};
  options.lease = options_.lease;
  options.heartbeat = options_.heartbeat;
  options.tick = options_.heartbeat / 4;
  auto started = Coordinator::Start(options);
  ASSERT_OK(started);
  coordinator_ = *std::move(started);
  client_address_ = coordinator_->address();
  worker_address_ = coordinator_->worker_address();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel =
      grpc::CreateCustomChannel(client_address_, grpc::InsecureChannelCredentials(), arguments);
  jobs_ = v1::JobService::NewStub(channel);
  artifacts_ = v1::ArtifactService::NewStub(channel);
  system_ = v1::SystemService::NewStub(channel);
}

void TestCluster::StopCoordinator() { coordinator_.reset(); }

std::string TestCluster::CreateJob() {
  v1::CreateJobRequest request;
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  spec.mutable_model()->set_uri(QUANTMOE_TESTDATA "/tiny-qwen2-moe");
  spec.mutable_budget()->set_average_bits(3);
  spec.mutable_heuristic()->set_name("optimal");
  spec.set_effort(0);
  v1::Job job;
  const grpc::Status status = jobs_->CreateJob(MakeContext().get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job.name();
}

v1::Job TestCluster::GetJob(const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  v1::Job job;
  const grpc::Status status = jobs_->GetJob(MakeContext().get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

v1::Job TestCluster::AwaitJob(const std::string& name, v1::Job::State state) {
  v1::Job job;
  EXPECT_TRUE(WaitUntil([&] {
    job = GetJob(name);
    return job.state() == state || job.state() >= v1::Job::SUCCEEDED;
  })) << job.ShortDebugString();
  EXPECT_EQ(job.state(), state) << job.ShortDebugString();
  return job;
}

std::string TestCluster::ManifestDigest(const std::string& job_name) {
  v1::GetArtifactRequest request;
  request.set_name(GetJob(job_name).artifact());
  v1::Artifact artifact;
  const grpc::Status status = artifacts_->GetArtifact(MakeContext().get(), request, &artifact);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return artifact.manifest_sha256();
}

std::vector<v1::Task> TestCluster::ListTasks(const std::string& job_name) {
  v1::ListTasksRequest request;
  request.set_job(job_name);
  request.set_page_size(1000);
  v1::ListTasksResponse response;
  const grpc::Status status = jobs_->ListTasks(MakeContext().get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {response.tasks().begin(), response.tasks().end()};
}

std::vector<v1::JobEvent> TestCluster::ListEvents(const std::string& job_name) {
  std::vector<v1::JobEvent> events;
  v1::ListJobEventsRequest request;
  request.set_name(job_name);
  request.set_page_size(1000);
  while (true) {
    request.set_after_seq(events.empty() ? 0 : events.back().seq());
    v1::ListJobEventsResponse response;
    const grpc::Status status = jobs_->ListJobEvents(MakeContext().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok() || response.events().empty()) return events;
    events.insert(events.end(), response.events().begin(), response.events().end());
  }
}

}  // namespace quantmoe
