// Jobs from creation to the artifact, with a worker that the test plays.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

std::vector<v1::JobEvent> Watch(RunningServer& server, const std::string& name, int64_t after_seq) {
  v1::WatchJobRequest request;
  request.set_name(name);
  request.set_after_seq(after_seq);
  auto context = WithDeadline(absl::Seconds(60));
  auto stream = server.jobs().WatchJob(context.get(), request);
  std::vector<v1::JobEvent> events;
  v1::JobEvent event;
  while (stream->Read(&event)) {
    if (event.seq() != 0) events.push_back(event);
  }
  EXPECT_TRUE(stream->Finish().ok());
  return events;
}

TEST(JobRunTest, RunsToAPublishedArtifact) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.RunToEnd();
  const v1::Job job = server.AwaitEnd(name);
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << job.error().message();
  for (const auto& stage : job.progress().stages()) {
    EXPECT_EQ(stage.tasks_done(), stage.tasks_total()) << stage.stage();
  }

  v1::GetArtifactRequest request;
  request.set_name(job.artifact());
  v1::Artifact artifact;
  ASSERT_TRUE(server.artifacts().GetArtifact(WithDeadline().get(), request, &artifact).ok());
  EXPECT_EQ(artifact.files_size(), 2);
  EXPECT_TRUE(std::filesystem::exists(artifact.path() + "/artifact.json"));

  v1::DownloadArtifactRequest download;
  download.set_name(job.artifact());
  download.set_file("model.safetensors");
  download.set_offset(8);
  auto context = WithDeadline();
  auto stream = server.artifacts().DownloadArtifact(context.get(), download);
  v1::Chunk chunk;
  ASSERT_TRUE(stream->Read(&chunk));
  EXPECT_EQ(chunk.offset(), 8);
  EXPECT_EQ(chunk.data(), "of publish");
  EXPECT_FALSE(stream->Read(&chunk));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(JobRunTest, TheReportHasScoresPlanAndLinears) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  v1::GetJobReportRequest request;
  request.set_name(name);
  v1::JobReport report;
  EXPECT_THAT(FromGrpcStatus(server.jobs().GetJobReport(WithDeadline().get(), request, &report)),
              HasReason("REPORT_NOT_READY"));
  FakeWorker worker(server.coordinator().worker_address());
  worker.RunToEnd();
  server.AwaitEnd(name);
  ASSERT_TRUE(server.jobs().GetJobReport(WithDeadline().get(), request, &report).ok());
  const auto json = nlohmann::json::parse(report.json());
  EXPECT_EQ(json["scores"]["planned"]["perplexity"]["value"], 11);
  EXPECT_LE(json["plan"]["average_bits"].get<double>(), 3.5);
  ASSERT_FALSE(json["linears"].empty());
  EXPECT_TRUE(json["linears"][0]["widths"].contains("4"));
  EXPECT_EQ(json["workers"][0]["id"], "w1");
  EXPECT_EQ(json["model"]["model_type"], "qwen2_moe");
  EXPECT_EQ(json["stages"].size(), 8u);
}

TEST(JobRunTest, WatchIsGaplessAndResumable) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.RunToEnd();
  const std::vector<v1::JobEvent> all = Watch(server, name, 0);
  ASSERT_GT(all.size(), 10u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(all.back().state_changed().state(), v1::Job::SUCCEEDED);
  const std::vector<v1::JobEvent> rest = Watch(server, name, 7);
  ASSERT_EQ(rest.size(), all.size() - 7);
  EXPECT_EQ(rest.front().seq(), 8);
}

TEST(JobRunTest, AnEqualJobComputesNothingAgain) {
  RunningServer server;
  const std::string first = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.RunToEnd();
  server.AwaitEnd(first);
  worker.SetCredits(1);
  const v1::Job second = server.AwaitEnd(server.CreateTinyJob());
  EXPECT_EQ(second.state(), v1::Job::SUCCEEDED);
  for (const auto& stage : second.progress().stages()) {
    EXPECT_EQ(stage.tasks_cached(), stage.tasks_total()) << stage.stage();
  }
}

TEST(JobRunTest, ASecondBudgetNeedsNoNewSolve) {
  RunningServer server;
  const std::string first = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.RunToEnd();
  server.AwaitEnd(first);
  v1::JobSpec budget = RunningServer::TinyJob().job().spec();
  v1::JobSpec heuristic = budget, profile = budget, rules = budget;
  budget.mutable_budget()->set_average_bits(4);
  heuristic.mutable_heuristic()->set_name("last-blocks");
  profile.set_runtime_profile("vllm");
  profile.mutable_budget()->set_average_bits(5);
  v1::WidthRule& rule = *rules.add_rules();
  rule.set_pattern("attention");
  rule.set_min_bits(3);
  for (const v1::JobSpec& spec : {budget, heuristic, profile, rules}) {
    v1::CreateJobRequest request;
    *request.mutable_job()->mutable_spec() = spec;
    v1::Job second;
    ASSERT_TRUE(server.jobs().CreateJob(WithDeadline().get(), request, &second).ok());
    worker.SetCredits(1);
    const v1::Assign assign = worker.AwaitAssign();
    EXPECT_EQ(LabelOf(assign), "allocate") << spec.ShortDebugString();
    worker.Finish(assign);
    worker.SetCredits(1);
    worker.RunToEnd();
    second = server.AwaitEnd(second.name());
    EXPECT_EQ(second.state(), v1::Job::SUCCEEDED) << second.error().message();
    for (const v1::StageProgress& stage : second.progress().stages()) {
      if (stage.stage() == "evaluate" || stage.stage() == "verdict")
        continue;  // two questions may have the same plan
      const bool again = stage.stage() == "allocate" || stage.stage() == "publish";
      EXPECT_EQ(stage.tasks_cached() == stage.tasks_total(), !again) << stage.stage();
    }
  }
  // All of them are measured points of one front.
  v1::GetJobParetoRequest request;
  request.set_name(first);
  request.set_points(5);
  v1::JobPareto pareto;
  ASSERT_TRUE(server.jobs().GetJobPareto(WithDeadline().get(), request, &pareto).ok());
  const auto json = nlohmann::json::parse(pareto.json());
  EXPECT_EQ(json["points"].size(), 5u);
  EXPECT_EQ(json["measured"].size(), 5u);
  EXPECT_EQ(json["measured"][0]["perplexity"], 11);
  EXPECT_EQ(json["original_perplexity"], 10);
  EXPECT_NE(pareto.svg().find("</svg>"), std::string::npos);
  request.set_points(201);
  EXPECT_THAT(FromGrpcStatus(server.jobs().GetJobPareto(WithDeadline().get(), request, &pareto)),
              HasReason("INVALID_FIELD"));
}

TEST(JobRunTest, CancelWaitsForTheRunningTask) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign assign = worker.AwaitAssign();
  v1::CancelJobRequest request;
  request.set_name(name);
  request.set_reason("enough");
  v1::Job job;
  ASSERT_TRUE(server.jobs().CancelJob(WithDeadline().get(), request, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::CANCELLING);
  EXPECT_EQ(worker.AwaitCancel().attempt().token(), assign.token());
  worker.Fail(assign, v1::FailTaskRequest::DRAINED);
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::CANCELLED);
  ASSERT_TRUE(server.jobs().CancelJob(WithDeadline().get(), request, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
}

TEST(JobRunTest, RetryMakesAJobThatUsesWhatExists) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.Fail(worker.RunUntil("forward-l0-s0"), v1::FailTaskRequest::PERMANENT);
  ASSERT_EQ(server.AwaitEnd(name).state(), v1::Job::FAILED);
  v1::RetryJobRequest request;
  request.set_name(name);
  request.set_request_id("retry-1");
  v1::Job retried, again;
  ASSERT_TRUE(server.jobs().RetryJob(WithDeadline().get(), request, &retried).ok());
  ASSERT_TRUE(server.jobs().RetryJob(WithDeadline().get(), request, &again).ok());
  EXPECT_EQ(retried.name(), again.name());
  EXPECT_EQ(retried.parent_job(), name);
  worker.SetCredits(1);
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "forward-l0-s0");
}

TEST(JobRunTest, AForcedDeleteStopsARunningJob) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign assign = worker.AwaitAssign();
  v1::DeleteJobRequest request;
  request.set_name(name);
  v1::DeleteJobResponse response;
  EXPECT_THAT(FromGrpcStatus(server.jobs().DeleteJob(WithDeadline().get(), request, &response)),
              HasReason("JOB_NOT_TERMINAL"));
  request.set_force(true);
  ASSERT_TRUE(server.jobs().DeleteJob(WithDeadline().get(), request, &response).ok());
  EXPECT_EQ(worker.AwaitCancel().attempt().token(), assign.token());
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(assign), {}, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::STALE);
}

}  // namespace
}  // namespace quantmoe
