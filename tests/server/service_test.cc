// Requests and their errors, on a real server.
#include <httplib.h>

#include <set>

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "storage/digest.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/server/stored_blobs.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;

class ServiceTest : public testing::Test {
 protected:
  absl::Status Create(const v1::CreateJobRequest& request, v1::Job* job) {
    return FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), request, job));
  }
  absl::Status Create(const v1::CreateJobRequest& request) {
    v1::Job job;
    return Create(request, &job);
  }
  RunningServer server_;
};

TEST_F(ServiceTest, AllBadFieldsAreNamedAtOnce) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_job_id("Bad_Id");
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  spec.mutable_heuristic()->set_name("guess");
  spec.mutable_gptq()->set_group_size(7);
  spec.mutable_calibration()->mutable_text()->set_sha256("xyz");
  spec.mutable_evaluation()->mutable_perplexity_text()->set_sha256(std::string(64, 'a'));
  const absl::Status status = Create(request);
  EXPECT_THAT(status, HasReason("INVALID_FIELD"));
  std::set<std::string> fields;
  for (const FieldViolation& violation : GetErrorInfo(status).violations) fields.insert(violation.field);
  EXPECT_THAT(fields, testing::IsSupersetOf({"job_id", "spec.gptq.group_size", "spec.calibration.text.sha256",
                                             "spec.evaluation.perplexity_text"}));
  EXPECT_THAT(fields, Contains(HasSubstr("spec.heuristic")));
}

TEST_F(ServiceTest, ModelsOutsideTheRootsAreRefused) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.mutable_job()->mutable_spec()->mutable_model()->set_uri("/etc");
  EXPECT_THAT(Create(request), HasReason("SOURCE_NOT_ALLOWED"));
}

TEST_F(ServiceTest, AnImpossibleBudgetIsRefused) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.mutable_job()->mutable_spec()->mutable_budget()->set_average_bits(1.5);
  EXPECT_THAT(Create(request), HasReason("BIT_BUDGET_INFEASIBLE"));
}

TEST_F(ServiceTest, ARepeatedRequestGivesTheSameJob) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_request_id("r-1");
  v1::Job first, second;
  ASSERT_OK(Create(request, &first));
  server_.Stop();
  server_.Start();
  ASSERT_OK(Create(request, &second));
  EXPECT_EQ(first.name(), second.name());
  request.mutable_job()->set_display_name("other");
  EXPECT_THAT(Create(request), HasReason("REQUEST_ID_PAYLOAD_MISMATCH"));
}

TEST_F(ServiceTest, AJobIdIsTakenOnce) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_job_id("mine");
  v1::Job job;
  ASSERT_OK(Create(request, &job));
  EXPECT_EQ(job.name(), "jobs/mine");
  EXPECT_THAT(Create(request), HasReason("JOB_ALREADY_EXISTS"));
}

TEST(FullTableTest, UnfinishedJobsBeyondTheLimitAreRefusedUntilOneEnds) {
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.max_active_jobs = 1;
  RunningServer server(options);
  const std::string first = server.CreateTinyJob();
  v1::Job job;
  EXPECT_THAT(FromGrpcStatus(server.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &job)),
              testing::AllOf(StatusIs(absl::StatusCode::kResourceExhausted), HasReason("QUEUE_FULL")));
  v1::CancelJobRequest cancel;
  cancel.set_name(first);
  ASSERT_TRUE(server.jobs().CancelJob(WithDeadline().get(), cancel, &job).ok());
  EXPECT_TRUE(server.jobs().CreateJob(WithDeadline().get(), RunningServer::TinyJob(), &job).ok());
}

TEST_F(ServiceTest, ValidateOnlyStoresNothing) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_validate_only(true);
  v1::Job job;
  ASSERT_OK(Create(request, &job));
  EXPECT_EQ(job.name(), "");
  v1::ListJobsResponse list;
  ASSERT_TRUE(server_.jobs().ListJobs(WithDeadline().get(), {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 0);
}

TEST_F(ServiceTest, EveryDefaultIsToldWhereOneJobIsAsked) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.mutable_job()->mutable_spec()->mutable_gptq()->clear_group_size();
  request.set_validate_only(true);
  v1::Job checked, created, read;
  ASSERT_OK(Create(request, &checked));
  EXPECT_EQ(checked.resolved_spec().gptq().widths_size(), 4);
  EXPECT_EQ(checked.resolved_spec().gptq().group_size(), 128);
  EXPECT_EQ(checked.resolved_spec().runtime_profile(), "gptqmodel");
  EXPECT_EQ(checked.spec().gptq().group_size(), 0) << "what was sent stays as it was";
  request.set_validate_only(false);
  ASSERT_OK(Create(request, &created));
  v1::GetJobRequest get;
  get.set_name(created.name());
  ASSERT_TRUE(server_.jobs().GetJob(WithDeadline().get(), get, &read).ok());
  using google::protobuf::util::MessageDifferencer;
  EXPECT_TRUE(MessageDifferencer::Equals(checked.resolved_spec(), created.resolved_spec()));
  EXPECT_TRUE(MessageDifferencer::Equals(checked.resolved_spec(), read.resolved_spec()));
}

TEST_F(ServiceTest, CreatingAJobWarnsOfWhatMayDisappoint) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.mutable_job()->mutable_spec()->mutable_calibration()->set_samples(1);
  request.mutable_job()->mutable_spec()->mutable_calibration()->set_sequence_length(16);
  v1::Job job;
  ASSERT_OK(Create(request, &job));
  ASSERT_EQ(job.warnings_size(), 1);
  EXPECT_THAT(job.warnings(0), HasSubstr("an expert will see about"));
}

TEST_F(ServiceTest, WhatTheSpecSaysInVainIsToldBeforeTheJobIsMade) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_validate_only(true);
  request.mutable_job()->mutable_spec()->mutable_evaluation()->set_skip(true);
  request.mutable_job()->mutable_spec()->mutable_evaluation()->set_window(64);
  v1::Job job;
  ASSERT_OK(Create(request, &job));
  EXPECT_THAT(job.warnings(), testing::Contains(HasSubstr("evaluation.window has no effect")));
}

v1::Digest UploadText(RunningServer& server, const std::string& text) {
  v1::UploadBlobRequest upload;
  upload.mutable_digest()->set_sha256(DigestOf(text).sha256);
  upload.mutable_digest()->set_size_bytes(static_cast<int64_t>(text.size()));
  upload.mutable_chunk()->set_data(text);
  v1::UploadBlobResponse response;
  auto context = WithDeadline();
  auto writer = server.blobs().UploadBlob(context.get(), &response);
  writer->Write(upload);
  writer->WritesDone();
  EXPECT_OK(FromGrpcStatus(writer->Finish()));
  return upload.digest();
}

// What CreateJob says of a job that calibrates on it.
absl::Status ValidateText(RunningServer& server, const v1::Digest& text) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_validate_only(true);
  *request.mutable_job()->mutable_spec()->mutable_calibration()->mutable_text() = text;
  v1::Job job;
  return FromGrpcStatus(server.jobs().CreateJob(WithDeadline().get(), request, &job));
}

TEST_F(ServiceTest, TextsOfWhiteSpaceAreRefusedByTheirField) {
  for (const std::string& blank : {std::string(), std::string(" \n\n")}) {
    EXPECT_THAT(GetErrorInfo(ValidateText(server_, UploadText(server_, blank))).violations,
                testing::ElementsAre(Field(&FieldViolation::field, "spec.calibration.text")));
  }
}

TEST_F(ServiceTest, ADamagedTextIsAskedForAgain) {
  const std::string text = "words that were stored whole";
  const v1::Digest digest = UploadText(server_, text);
  EXPECT_OK(ValidateText(server_, digest));
  DamageBlob(server_.data_dir(), digest);
  EXPECT_THAT(ValidateText(server_, digest),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not stored")));
  UploadText(server_, text);
  EXPECT_OK(ValidateText(server_, digest));
}

TEST_F(ServiceTest, AFilterThatNamesNoStateIsToldTheStates) {
  v1::ListJobsRequest request;
  request.set_filter("state=FOO");
  v1::ListJobsResponse response;
  EXPECT_THAT(FromGrpcStatus(server_.jobs().ListJobs(WithDeadline().get(), request, &response)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("QUEUED, ")));
}

TEST_F(ServiceTest, UnknownJobsAreNotFound) {
  v1::GetJobRequest request;
  v1::Job job;
  for (const char* name : {"jobs/none", "jobs/../x", "none", ""}) {
    request.set_name(name);
    EXPECT_THAT(FromGrpcStatus(server_.jobs().GetJob(WithDeadline().get(), request, &job)),
                HasReason("JOB_NOT_FOUND"));
  }
  v1::WatchJobRequest watch;
  watch.set_name("jobs/none");
  auto context = WithDeadline();
  auto stream = server_.jobs().WatchJob(context.get(), watch);
  v1::JobEvent event;
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_THAT(FromGrpcStatus(stream->Finish()), HasReason("JOB_NOT_FOUND"));
}

TEST_F(ServiceTest, ListsInPagesNewestFirst) {
  std::vector<std::string> created;
  for (int i = 0; i < 5; ++i) created.insert(created.begin(), server_.CreateTinyJob());
  std::vector<std::string> listed;
  v1::ListJobsRequest request;
  request.set_page_size(2);
  int pages = 0;
  do {
    v1::ListJobsResponse response;
    ASSERT_TRUE(server_.jobs().ListJobs(WithDeadline().get(), request, &response).ok());
    for (const v1::Job& job : response.jobs()) listed.push_back(job.name());
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty() && pages < 10);
  EXPECT_EQ(listed, created);
  EXPECT_EQ(pages, 3);
}

TEST_F(ServiceTest, PagesBelongToTheirFilter) {
  server_.CreateTinyJob();
  server_.CreateTinyJob();
  v1::ListJobsRequest request;
  request.set_page_size(1);
  v1::ListJobsResponse response;
  ASSERT_TRUE(server_.jobs().ListJobs(WithDeadline().get(), request, &response).ok());
  request.set_page_token(response.next_page_token());
  request.set_filter("state=QUEUED");
  EXPECT_THAT(FromGrpcStatus(server_.jobs().ListJobs(WithDeadline().get(), request, &response)),
              HasReason("INVALID_FIELD"));
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_THAT(FromGrpcStatus(server_.jobs().ListJobs(WithDeadline().get(), request, &response)),
              HasReason("INVALID_FIELD"));
}

TEST_F(ServiceTest, AStaleEtagStopsACancel) {
  v1::CancelJobRequest request;
  request.set_name(server_.CreateTinyJob());
  request.set_etag("\"old\"");
  v1::Job job;
  EXPECT_THAT(FromGrpcStatus(server_.jobs().CancelJob(WithDeadline().get(), request, &job)),
              HasReason("ETAG_MISMATCH"));
  // The server may just be writing down why the job waits: then the etag is read again, as clients do.
  absl::Status cancelled;
  do {
    request.set_etag(server_.GetJob(request.name()).etag());
    cancelled = FromGrpcStatus(server_.jobs().CancelJob(WithDeadline().get(), request, &job));
  } while (absl::IsAborted(cancelled));
  ASSERT_THAT(cancelled, IsOk());
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);  // nothing was running
}

TEST_F(ServiceTest, EstimatesWithoutCreating) {
  v1::EstimateJobRequest request;
  *request.mutable_spec() = RunningServer::TinyJob().job().spec();
  v1::Estimate estimate;
  ASSERT_TRUE(server_.jobs().EstimateJob(WithDeadline().get(), request, &estimate).ok());
  EXPECT_LT(estimate.minimum_bytes(), estimate.budget_bytes());
  EXPECT_LT(estimate.budget_bytes(), estimate.maximum_bytes());
  EXPECT_LT(estimate.maximum_bytes(), estimate.original_bytes());
  EXPECT_GT(estimate.worker_memory_bytes(), 0);
  EXPECT_GT(estimate.tasks(), 8);
  EXPECT_GT(estimate.tokens_per_expert(), 0);
  EXPECT_EQ(estimate.seconds(), 0) << "nothing was timed";
  EXPECT_EQ(estimate.warnings(0), "no worker is connected: the job would wait");
  EXPECT_FALSE(estimate.bytes_exact());
  request.mutable_spec()->mutable_heuristic()->set_name("uniform");
  request.mutable_spec()->set_protect_super_experts(false);
  ASSERT_TRUE(server_.jobs().EstimateJob(WithDeadline().get(), request, &estimate).ok());
  EXPECT_TRUE(estimate.bytes_exact());
  EXPECT_LE(estimate.predicted_bytes(), estimate.budget_bytes());
}

TEST_F(ServiceTest, PresetsAndRulesAreCheckedBeforeWork) {
  v1::CreateJobRequest request = RunningServer::TinyJob();
  request.set_validate_only(true);
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  v1::Job job;
  spec.clear_budget();
  spec.mutable_heuristic()->clear_name();
  spec.mutable_heuristic()->set_preset("mixtral-attn4");
  EXPECT_TRUE(server_.jobs().CreateJob(WithDeadline().get(), request, &job).ok());
  spec.mutable_heuristic()->set_preset("mixtral-best");
  const absl::Status unknown = FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), request, &job));
  EXPECT_THAT(unknown, HasReason("INVALID_FIELD"));
  EXPECT_THAT(GetErrorInfo(unknown).violations,
              testing::ElementsAre(Field(&FieldViolation::field, "spec.heuristic.preset")))
      << "one mistake, one error";
  spec = RunningServer::TinyJob().job().spec();
  spec.add_rules()->set_pattern("*.w9");
  spec.mutable_rules(0)->set_protect(true);
  const absl::Status refused = FromGrpcStatus(server_.jobs().CreateJob(WithDeadline().get(), request, &job));
  EXPECT_THAT(refused, HasReason("INVALID_FIELD"));
  EXPECT_EQ(GetErrorInfo(refused).violations.front().field, "spec.rules[0].pattern");
}

TEST_F(ServiceTest, TheCatalogKnowsHeuristicsProfilesAndModels) {
  v1::ListHeuristicsResponse heuristics;
  ASSERT_TRUE(server_.catalog().ListHeuristics(WithDeadline().get(), {}, &heuristics).ok());
  EXPECT_EQ(heuristics.heuristics(0).name(), "optimal");
  v1::ListProfilesResponse profiles;
  ASSERT_TRUE(server_.catalog().ListProfiles(WithDeadline().get(), {}, &profiles).ok());
  EXPECT_GE(profiles.profiles_size(), 2);
  v1::InspectModelRequest request;
  request.mutable_model()->set_uri(QUANTMOE_TESTDATA "/tiny-qwen2-moe");
  v1::InspectModelResponse response;
  ASSERT_TRUE(server_.catalog().InspectModel(WithDeadline().get(), request, &response).ok());
  EXPECT_THAT(response.json(), HasSubstr("qwen2_moe"));
}

TEST_F(ServiceTest, AnInterruptedUploadGoesOnWhereItWas) {
  const std::string bytes = "0123456789";
  const Digest digest = DigestOf(bytes);
  v1::Digest wire;
  wire.set_sha256(digest.sha256);
  wire.set_size_bytes(digest.size_bytes);
  const auto upload = [&](int64_t offset, const std::string& part) {
    v1::UploadBlobRequest request;
    *request.mutable_digest() = wire;
    request.mutable_chunk()->set_offset(offset);
    request.mutable_chunk()->set_data(part);
    v1::UploadBlobResponse response;
    auto context = WithDeadline();
    auto writer = server_.blobs().UploadBlob(context.get(), &response);
    writer->Write(request);
    writer->WritesDone();
    return FromGrpcStatus(writer->Finish());
  };
  EXPECT_THAT(upload(0, "0123"), HasReason("UPLOAD_INCOMPLETE"));
  v1::GetUploadStatusRequest ask;
  *ask.mutable_digest() = wire;
  v1::GetUploadStatusResponse status;
  ASSERT_TRUE(server_.blobs().GetUploadStatus(WithDeadline().get(), ask, &status).ok());
  EXPECT_EQ(status.committed_bytes(), 4);
  EXPECT_FALSE(status.complete());
  EXPECT_OK(upload(4, "456789"));
  v1::FindMissingBlobsRequest find;
  *find.add_digests() = wire;
  v1::FindMissingBlobsResponse missing;
  ASSERT_TRUE(server_.blobs().FindMissingBlobs(WithDeadline().get(), find, &missing).ok());
  EXPECT_EQ(missing.missing_size(), 0);
}

TEST_F(ServiceTest, BytesThatAreNotWhatWasNamedAreRefused) {
  v1::UploadBlobRequest request;
  request.mutable_digest()->set_sha256(std::string(64, 'a'));
  request.mutable_digest()->set_size_bytes(3);
  request.mutable_chunk()->set_data("abc");
  v1::UploadBlobResponse response;
  auto context = WithDeadline();
  auto writer = server_.blobs().UploadBlob(context.get(), &response);
  writer->Write(request);
  writer->WritesDone();
  EXPECT_THAT(FromGrpcStatus(writer->Finish()), HasReason("DIGEST_MISMATCH"));
}

TEST_F(ServiceTest, WorkersComeInPagesById) {
  std::vector<std::unique_ptr<FakeWorker>> workers;
  for (const char* id : {"c", "a", "e", "b", "d"}) {
    workers.push_back(
        std::make_unique<FakeWorker>(server_.coordinator().worker_address(), FakeWorker::Options{.id = id}));
  }
  v1::ListWorkersRequest request;
  request.set_page_size(2);
  std::vector<std::string> pages;
  do {
    v1::ListWorkersResponse page;
    ASSERT_OK(FromGrpcStatus(server_.system().ListWorkers(WithDeadline().get(), request, &page)));
    pages.emplace_back();
    for (const v1::Worker& worker : page.workers()) pages.back() += worker.id();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(pages, testing::ElementsAre("ab", "cd", "e"));

  v1::ListWorkersResponse page;
  request.set_page_token("made up");
  EXPECT_THAT(FromGrpcStatus(server_.system().ListWorkers(WithDeadline().get(), request, &page)),
              HasReason("INVALID_FIELD"));
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_THAT(FromGrpcStatus(server_.system().ListWorkers(WithDeadline().get(), request, &page)),
              HasReason("INVALID_FIELD"));
}

// Older clients do not know of pages.
TEST_F(ServiceTest, WorkersComeAtOnceWhenNoPageSizeIsAsked) {
  FakeWorker one(server_.coordinator().worker_address(), {.id = "one"});
  FakeWorker two(server_.coordinator().worker_address(), {.id = "two"});
  v1::ListWorkersResponse list;
  ASSERT_OK(FromGrpcStatus(server_.system().ListWorkers(WithDeadline().get(), {}, &list)));
  EXPECT_EQ(list.workers_size(), 2);
  EXPECT_EQ(list.next_page_token(), "");
}

TEST_F(ServiceTest, WorkersAreListedAndDrained) {
  FakeWorker worker(server_.coordinator().worker_address());
  v1::ListWorkersResponse list;
  ASSERT_TRUE(server_.system().ListWorkers(WithDeadline().get(), {}, &list).ok());
  ASSERT_EQ(list.workers_size(), 1);
  EXPECT_EQ(list.workers(0).state(), v1::Worker::IDLE);
  v1::DrainWorkerRequest request;
  request.set_id("w1");
  v1::Worker drained;
  ASSERT_TRUE(server_.system().DrainWorker(WithDeadline().get(), request, &drained).ok());
  EXPECT_EQ(drained.state(), v1::Worker::DRAINING);
  request.set_id("nobody");
  EXPECT_THAT(FromGrpcStatus(server_.system().DrainWorker(WithDeadline().get(), request, &drained)),
              HasReason("WORKER_NOT_FOUND"));
}

TEST_F(ServiceTest, ANewerSessionReplacesTheOlder) {
  FakeWorker older(server_.coordinator().worker_address());
  FakeWorker newer(server_.coordinator().worker_address());
  EXPECT_THAT(FromGrpcStatus(older.AwaitEnd()), HasReason("SESSION_REPLACED"));
}

TEST_F(ServiceTest, MetricsAndProbesAnswer) {
  server_.CreateTinyJob();
  httplib::Client http("http://" + server_.coordinator().http_address());
  EXPECT_EQ(http.Get("/healthz")->status, 200);
  EXPECT_EQ(http.Get("/readyz")->status, 200);
  const std::string metrics = http.Get("/metrics")->body;
  for (const char* line : {"quantmoe_jobs_submitted_total{heuristic=\"optimal\"} 1", "quantmoe_build_info{",
                           "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"CreateJob\"",
                           "quantmoe_store_tx_seconds_count", "process_resident_memory_bytes"}) {
    EXPECT_THAT(metrics, HasSubstr(line));
  }
}

}  // namespace
}  // namespace quantmoe
