// What a client, a worker or a stranger may take of a server.
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "quantmoe/v1/worker.grpc.pb.h"
#include "server/wire/connection_acceptor.h"
#include "server/wire/connection_limits.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/raw_connection.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using testing::HasSubstr;
using testing::SizeIs;

// Requests.

// Puts a text that is beyond every limit into the first text of the message or of one that it holds.
bool Overfill(google::protobuf::Message& message, int depth = 0) {
  const auto& descriptor = *message.GetDescriptor();
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      const std::string text(5000, 'x');
      field->is_repeated() ? reflection.AddString(&message, field, text)
                           : reflection.SetString(&message, field, text);
      return true;
    }
    if (field->type() != FieldDescriptor::TYPE_MESSAGE || field->is_map() || depth == 4) continue;
    google::protobuf::Message& inner = field->is_repeated() ? *reflection.AddMessage(&message, field)
                                                            : *reflection.MutableMessage(&message, field);
    if (Overfill(inner, depth + 1)) return true;
    field->is_repeated() ? reflection.RemoveLast(&message, field) : reflection.ClearField(&message, field);
  }
  return false;
}

// Calls any method, streaming or not, with one message.
absl::Status Call(const std::string& address, const MethodDescriptor& method, const std::string& request) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  const auto context = WithDeadline();
  grpc::CompletionQueue queue;
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  auto call = stub.PrepareCall(context.get(),
                               absl::StrCat("/", method.service()->full_name(), "/", method.name()), &queue);
  call->StartCall(nullptr);
  step();
  const grpc::Slice slice(request);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  step();
  call->WritesDone(nullptr);
  step();
  do {
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
  } while (step());
  grpc::Status status;
  call->Finish(&status, nullptr);
  step();
  return FromGrpcStatus(status);
}

TEST(LimitsTest, EveryMethodRefusesATextBeyondItsLimit) {
  RunningServer server;
  google::protobuf::DynamicMessageFactory messages;
  int called = 0;
  for (const auto& [file, worker] : std::vector<std::pair<const google::protobuf::FileDescriptor*, bool>>{
           {v1::Artifact::descriptor()->file(), false},
           {v1::FindMissingBlobsRequest::descriptor()->file(), false},
           {v1::FindMissingBlobsRequest::descriptor()->file(), true},
           {v1::InspectModelRequest::descriptor()->file(), false},
           {v1::Job::descriptor()->file(), false},
           {v1::Worker::descriptor()->file(), false},
           {v1::Hello::descriptor()->file(), true}}) {
    for (int i = 0; i < file->service(0)->method_count(); ++i) {
      const MethodDescriptor& method = *file->service(0)->method(i);
      const std::unique_ptr<google::protobuf::Message> request(
          messages.GetPrototype(method.input_type())->New());
      if (!Overfill(*request)) continue;  // it has no text
      const std::string address =
          worker ? server.coordinator().worker_address() : server.coordinator().address();
      const absl::Status status = Call(address, method, request->SerializeAsString());
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has 5000 bytes")))
          << method.full_name();
      ++called;
    }
  }
  EXPECT_GE(called, 25);
}

TEST(LimitsTest, ThousandsOfBadRulesAreRefusedBeforeTheyAreCompared) {
  RunningServer server;
  v1::EstimateJobRequest request;
  *request.mutable_spec() = RunningServer::TinyJob().job().spec();
  for (int i = 0; i < 24000; ++i) request.mutable_spec()->add_rules();
  v1::Estimate estimate;
  const absl::Status status =
      FromGrpcStatus(server.jobs().EstimateJob(WithDeadline(absl::Seconds(20)).get(), request, &estimate));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("spec.rules: has 24000 entries, at most 256 are allowed")));
}

TEST(LimitsTest, CompressedMessagesAreRefused) {
  RunningServer server;
  grpc::ChannelArguments arguments;
  arguments.SetCompressionAlgorithm(GRPC_COMPRESS_GZIP);
  const auto stub = v1::JobService::NewStub(grpc::CreateCustomChannel(
      server.coordinator().address(), grpc::InsecureChannelCredentials(), arguments));
  v1::GetJobRequest request;
  request.set_name(std::string(4'000'000, 'x'));
  v1::Job job;
  EXPECT_THAT(FromGrpcStatus(stub->GetJob(WithDeadline().get(), request, &job)),
              StatusIs(absl::StatusCode::kUnimplemented));
}

// Answers.

TEST(LimitsTest, PagesStayBelowTheLimitOfAMessage) {
  RunningServer server;
  v1::CreateJobRequest create = RunningServer::TinyJob();
  for (int i = 0; i < 256; ++i) {
    v1::WidthRule& rule = *create.mutable_job()->mutable_spec()->add_rules();
    rule.set_pattern(absl::StrCat("model.*", std::string(180, '*'), i % 2 == 0 ? "q_proj" : "k_proj"));
    rule.set_min_bits(2);
  }
  std::set<std::string> created, listed;
  for (int i = 0; i < 70; ++i) {
    create.set_request_id(absl::StrCat("job-", i));
    v1::Job job;
    ASSERT_OK(FromGrpcStatus(server.jobs().CreateJob(WithDeadline().get(), create, &job)));
    created.insert(job.name());
  }
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  int pages = 0;
  do {
    v1::ListJobsResponse page;
    ASSERT_OK(FromGrpcStatus(server.jobs().ListJobs(WithDeadline().get(), request, &page)));
    EXPECT_LT(page.ByteSizeLong(), size_t{4} << 20);
    for (const v1::Job& job : page.jobs()) EXPECT_TRUE(listed.insert(job.name()).second);
    request.set_page_token(page.next_page_token());
    ++pages;
  } while (!request.page_token().empty() && pages < 20);
  EXPECT_EQ(listed, created);
  EXPECT_GT(pages, 1);
}

TEST(LimitsTest, AWorkerThatReadsNothingIsEnded) {
  RunningServer server;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // what is on its way to us stays below 64 KiB
  const auto stub = v1::WorkerService::NewStub(grpc::CreateCustomChannel(
      server.coordinator().worker_address(), grpc::InsecureChannelCredentials(), arguments));
  const auto context = WithDeadline(absl::Seconds(60));
  const auto session = stub->Session(context.get());
  v1::WorkerMessage message;
  message.mutable_hello()->set_worker_id("deaf");
  message.mutable_hello()->set_api_version(1);
  message.mutable_hello()->set_determinism_class("test-class");
  session->Write(message);
  message.mutable_heartbeat()->set_seq(int64_t{1} << 62);
  // Each is acknowledged. A busy server is waited for on the way: what it answered only after we began to
  // read would not be too much.
  const auto wait_for_server = [&stub] {
    v1::CompleteTaskResponse response;
    stub->CompleteTask(WithDeadline().get(), v1::CompleteTaskRequest(), &response);
  };
  for (int i = 0; i < 12000; ++i) {
    session->Write(message);
    if (i % 250 == 0) wait_for_server();
  }
  for (int i = 0; i < 50; ++i) wait_for_server();
  v1::CoordinatorMessage answer;
  while (session->Read(&answer)) {
  }
  EXPECT_THAT(FromGrpcStatus(session->Finish()), HasReason("CLIENT_TOO_SLOW"));
}

TEST(LimitsTest, TextsOfWorkersAreKeptShort) {
  RunningServer server;
  FakeWorker worker(server.coordinator().worker_address());
  const std::string name = server.CreateTinyJob();
  v1::FailTaskRequest failure;
  const v1::Assign assign = worker.AwaitAssign();
  *failure.mutable_attempt() = AttemptOf(assign);
  failure.set_failure_class(v1::FailTaskRequest::PERMANENT);
  failure.mutable_error()->set_code(3);
  for (int i = 0; i < 1300; ++i) *failure.mutable_error()->mutable_message() += "\u3042";
  for (int i = 0; i < 900; ++i) failure.mutable_error()->add_details()->set_value(std::string(1000, 'x'));
  const auto stub = v1::WorkerService::NewStub(
      grpc::CreateChannel(server.coordinator().worker_address(), grpc::InsecureChannelCredentials()));
  v1::FailTaskResponse response;
  ASSERT_OK(FromGrpcStatus(stub->FailTask(WithDeadline().get(), failure, &response)));
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_LT(job.ByteSizeLong(), 8000u);
  EXPECT_THAT(job.error().message(), HasSubstr("\u3042..."));
}

TEST(LimitsTest, AFailureInDamagedTextEndsTheAttempt) {
  RunningServer server;
  FakeWorker worker(server.coordinator().worker_address());
  const std::string name = server.CreateTinyJob();
  v1::FailTaskRequest failure;
  *failure.mutable_attempt() = AttemptOf(worker.AwaitAssign());
  failure.set_failure_class(v1::FailTaskRequest::PERMANENT);
  failure.mutable_error()->set_code(3);
  failure.mutable_error()->set_message("row 7: CUT");
  std::string bytes = failure.SerializeAsString();
  bytes.replace(bytes.find("CUT"), 3, "\xE3\x81.");  // what an older worker made of the message
  ASSERT_OK(Call(server.coordinator().worker_address(),
                 *v1::Hello::descriptor()->file()->service(0)->FindMethodByName("FailTask"), bytes));
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_THAT(job.error().message(), HasSubstr("row 7: \uFFFD\uFFFD."));
}

TEST(LimitsTest, DamagedTextInASessionIsMendedAndEndsNothing) {
  RunningServer server;
  const std::string address = server.coordinator().worker_address();
  FakeWorker other(address, {.id = "other", .credits = 0});
  FakeWorker worker(address, {.id = "mumbler"});
  const std::string name = server.CreateTinyJob();
  v1::WorkerMessage nack;
  *nack.mutable_task_nack()->mutable_attempt() = AttemptOf(worker.AwaitAssign());
  nack.mutable_task_nack()->mutable_reason()->set_code(14);
  nack.mutable_task_nack()->mutable_reason()->set_message("caf\xC3");
  testing::internal::CaptureStderr();
  worker.Write(nack);
  worker.SetCredits(1);
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::ContainsRegex("sends text that is not UTF-8.*mumbler"));
  v1::ListWorkersResponse workers;
  ASSERT_OK(FromGrpcStatus(server.system().ListWorkers(WithDeadline().get(), {}, &workers)));
  EXPECT_THAT(workers.workers(), SizeIs(2)) << "nobody's session has ended";
}

TEST(LimitsTest, DamagedTextInAResultIsAnsweredLikeAnyOther) {
  RunningServer server;
  FakeWorker worker(server.coordinator().worker_address());
  v1::AttemptRef nobodys;
  nobodys.set_task("jobs/caf\xC3/tasks/x");
  v1::CompleteTaskResponse::Outcome outcome = v1::CompleteTaskResponse::COMMITTED;
  EXPECT_OK(FromGrpcStatus(worker.Complete(nobodys, {}, &outcome)));
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::STALE);
}

// Connections.

TEST(LimitsTest, ConnectionsBeyondTheLimitAreClosedAndRoomComesBack) {
  ASSERT_OK_AND_ASSIGN(std::vector<ListenSocket> sockets, ListenSocket::Bind("127.0.0.1", 0));
  absl::Mutex mutex;
  std::deque<int> accepted;
  ConnectionAcceptor acceptor("test", std::move(sockets), /*max_connections=*/2, [&](int, int fd) {
    absl::MutexLock lock(&mutex);
    accepted.push_back(fd);
  });
  const auto next = [&] {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](std::deque<int>* fds) { return !fds->empty(); }, &accepted));
    const int fd = accepted.front();
    accepted.pop_front();
    return fd;
  };
  RawConnection first(acceptor.port()), second(acceptor.port());
  const int served = next(), kept = next();
  EXPECT_TRUE(RawConnection(acceptor.port()).IsClosed());
  close(served);  // as the server does in its time
  RawConnection third(acceptor.port());
  const int later = next();
  close(kept);
  close(later);
}

TEST(LimitsTest, IdleStrangersDoNotKeepJobsFromEnding) {
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.descriptors = 64;  // so 16 connections of the API
  RunningServer server(options);
  FakeWorker worker(server.coordinator().worker_address());
  const std::string name = server.CreateTinyJob();
  const std::string address = server.coordinator().address();
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  std::vector<std::unique_ptr<RawConnection>> strangers;
  for (int i = 0; i < 40; ++i) strangers.push_back(std::make_unique<RawConnection>(port));
  EXPECT_TRUE(strangers.back()->IsClosed());
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST(LimitsTest, WorkKeepsAQuarterOfTheDescriptors) {
  for (const size_t descriptors : {64, 256, 1024, 65536, 1 << 30}) {
    const ConnectionLimits limits = LimitConnections(descriptors);
    EXPECT_LE(limits.api + limits.workers + limits.http, descriptors - descriptors / 4) << descriptors;
    EXPECT_GE(std::min({limits.api, limits.workers, limits.http}), 4u) << descriptors;
  }
}

}  // namespace
}  // namespace quantmoe
