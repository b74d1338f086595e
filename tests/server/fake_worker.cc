#include "tests/server/fake_worker.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "plan/graph/task_graph.h"
#include "plan/job/job_allocation.h"
#include "plan/model/model_config.h"
#include "plan/model/tensor_views.h"
#include "plan/options/spec_json.h"
#include "proto/grpc_status.h"
#include "sources/model_sources.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// The model that all jobs of these tests quantize.
struct TinyModel {
  std::unique_ptr<Checkpoint> checkpoint;
  ModelSpec spec;
};

const TinyModel& Tiny() {
  static const TinyModel& model = *[] {
    auto* tiny = new TinyModel;
    ModelUri uri;
    uri.path = QUANTMOE_TESTDATA "/tiny-qwen2-moe";
    tiny->checkpoint = Checkpoint::Open(OpenModelDirectory(uri).value()).value();
    tiny->spec = ParseModelConfig(tiny->checkpoint->directory().ReadAll("config.json").value()).value();
    return tiny;
  }();
  return model;
}

Digest FromWire(const v1::Digest& digest) { return {digest.sha256(), digest.size_bytes()}; }

// A table as `solve` writes it; more bits give less distortion, as they do for real weights.
std::string MakeTable(const json& params, const std::map<int, Digest>& blobs) {
  PartTable table;
  table.layer = params.at("layer").get<int>();
  table.part = params.at("part").get<int>();
  table.blobs = blobs;
  for (const Part& part : CutParts(Tiny().spec)) {
    if (part.layer != table.layer || part.index != table.part) continue;
    for (const Linear& linear : part.linears) {
      DistortionRow& row = table.rows.emplace_back();
      row.linear = linear;
      row.tokens = 100;
      row.damp = 0.01;
      row.method = "gptq";
      for (const auto& [bits, blob] : blobs) {
        row.widths[bits] = {static_cast<double>(linear.weights()) * std::pow(4.0, -bits),
                            std::pow(4.0, -bits)};
      }
    }
  }
  return PartTableToJson(table);
}

JobSpec SpecOfTask(const json& params) {
  JobSpec spec;
  EXPECT_TRUE(ReadTaskParams(params, kChoiceTasks, spec).ok());
  return spec;
}

}  // namespace

v1::AttemptRef AttemptOf(const v1::Assign& assign) {
  v1::AttemptRef attempt;
  attempt.set_task(assign.task().task());
  attempt.set_token(assign.token());
  return attempt;
}

std::string LabelOf(const v1::Assign& assign) {
  const std::string& name = assign.task().task();
  return name.substr(name.rfind('/') + 1);
}

FakeWorker::FakeWorker(const std::string& address, Options options) : options_(std::move(options)) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  stub_ = v1::WorkerService::NewStub(channel);
  blobs_ = v1::BlobService::NewStub(channel);
  context_ = WithDeadline(absl::Seconds(90));
  stream_ = stub_->Session(context_.get());
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_worker_id(options_.id);
  hello.set_instance(options_.instance);
  hello.set_api_version(1);
  hello.set_device("cpu");
  hello.set_memory_bytes(options_.memory_bytes);
  hello.set_determinism_class(options_.determinism_class);
  hello.set_credits(options_.credits);
  hello.mutable_held()->Assign(options_.held.begin(), options_.held.end());
  Write(message);
  ReadUntil([this](const v1::CoordinatorMessage& m) {
    if (m.has_welcome()) welcome_ = m.welcome();
    return m.has_welcome();
  });
}

FakeWorker::~FakeWorker() { context_->TryCancel(); }

void FakeWorker::Write(const v1::WorkerMessage& message) { stream_->Write(message); }

void FakeWorker::SetCredits(int credits) {
  v1::WorkerMessage message;
  message.mutable_set_credits()->set_credits(credits);
  Write(message);
}

void FakeWorker::Heartbeat(const std::vector<v1::AttemptRef>& running, int64_t progress_ticks) {
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_seq(progress_ticks);
  for (const v1::AttemptRef& attempt : running) {
    auto& added = *message.mutable_heartbeat()->add_running();
    *added.mutable_attempt() = attempt;
    added.set_progress_ticks(progress_ticks);
  }
  Write(message);
  EXPECT_TRUE(
      ReadUntil([&](const v1::CoordinatorMessage& m) { return m.heartbeat_ack().seq() == progress_ticks; }));
}

void FakeWorker::Acknowledge(const v1::AttemptRef& attempt) {
  v1::WorkerMessage message;
  *message.mutable_task_ack()->mutable_attempt() = attempt;
  Write(message);
}

bool FakeWorker::ReadUntil(const std::function<bool(const v1::CoordinatorMessage&)>& wanted) {
  v1::CoordinatorMessage message;
  while (stream_->Read(&message)) {
    if (wanted(message)) return true;
  }
  return false;
}

v1::Assign FakeWorker::AwaitAssign() {
  const std::optional<v1::Assign> assign = NextAssign();
  EXPECT_TRUE(assign.has_value()) << "the session ended without an assignment";
  return assign.value_or(v1::Assign());
}

std::optional<v1::Assign> FakeWorker::NextAssign() {
  std::optional<v1::Assign> assign;
  ReadUntil([&](const v1::CoordinatorMessage& m) {
    if (m.has_assign()) assign = m.assign();
    return m.has_assign();
  });
  return assign;
}

v1::CancelTask FakeWorker::AwaitCancel() {
  v1::CancelTask cancel;
  EXPECT_TRUE(ReadUntil([&](const v1::CoordinatorMessage& m) {
    if (m.has_cancel()) cancel = m.cancel();
    return m.has_cancel();
  }));
  return cancel;
}

v1::DropTask FakeWorker::AwaitDrop() {
  v1::DropTask drop;
  EXPECT_TRUE(ReadUntil([&](const v1::CoordinatorMessage& m) {
    if (m.has_drop()) drop = m.drop();
    return m.has_drop();
  }));
  return drop;
}

grpc::Status FakeWorker::AwaitEnd() {
  ReadUntil([](const v1::CoordinatorMessage&) { return false; });
  return stream_->Finish();
}

v1::Digest FakeWorker::Upload(const std::string& bytes) {
  const Digest digest = DigestOf(bytes);
  v1::UploadBlobRequest request;
  request.mutable_digest()->set_sha256(digest.sha256);
  request.mutable_digest()->set_size_bytes(digest.size_bytes);
  // Goes on where an upload to a server that died has ended.
  v1::GetUploadStatusRequest asked;
  *asked.mutable_digest() = request.digest();
  v1::GetUploadStatusResponse kept;
  grpc::Status status = blobs_->GetUploadStatus(WithDeadline().get(), asked, &kept);
  if (status.ok() && kept.complete()) return request.digest();
  request.mutable_chunk()->set_offset(kept.committed_bytes());
  request.mutable_chunk()->set_data(bytes.substr(static_cast<size_t>(kept.committed_bytes())));
  v1::UploadBlobResponse response;
  auto context = WithDeadline();
  auto writer = blobs_->UploadBlob(context.get(), &response);
  writer->Write(request);
  writer->WritesDone();
  status = writer->Finish();
  lost_server_ |= status.error_code() == grpc::StatusCode::UNAVAILABLE;
  EXPECT_TRUE(status.ok() || lost_server_) << status.error_message();
  return response.digest();
}

std::string FakeWorker::ReadBlob(const v1::Digest& digest) {
  v1::DownloadBlobRequest request;
  *request.mutable_digest() = digest;
  auto context = WithDeadline();
  auto reader = blobs_->DownloadBlob(context.get(), request);
  std::string bytes;
  v1::Chunk chunk;
  while (reader->Read(&chunk)) bytes += chunk.data();
  EXPECT_TRUE(reader->Finish().ok());
  return bytes;
}

std::vector<v1::TaskBlob> FakeWorker::Produce(const v1::TaskSpec& task) {
  std::vector<v1::TaskBlob> outputs;
  const auto add = [&](const std::string& role, const std::string& bytes) {
    v1::TaskBlob& output = outputs.emplace_back();
    output.set_role(role);
    *output.mutable_digest() = Upload(bytes);
  };
  const json params = json::parse(task.params_json());
  const std::string label = task.task().substr(task.task().rfind('/') + 1);
  if (task.kind() == "prepare") {
    add("summary", PrepareSummaryToJson({1, 100, 1, 50}));
    add("hidden.0", "hidden");
    add("hidden.1", "sample of the probes");
    add("requests.0", "requests");
    add("search_sample", "search");
    add("verdict_sample", "verdict");
  } else if (task.kind() == "forward") {
    for (const char* role : {"hidden", "ffn_input", "routing", "counts", "stream"})
      add(role, absl::StrCat(label, role));
  } else if (task.kind() == "solve") {
    std::map<int, Digest> blobs;
    for (const int bits : params.at("widths").get<std::vector<int>>()) {
      add(absl::StrCat("w", bits), absl::StrCat(label, "/", bits));
      blobs[bits] = FromWire(outputs.back().digest());
    }
    add("table", MakeTable(params, blobs));
  } else if (task.kind() == "probe") {
    add("sensitivity", absl::StrCat("sensitivity of ", label));
  } else if (task.kind() == "allocate") {
    DistortionTable table;
    for (const v1::TaskBlob& input : task.inputs()) {
      if (input.role().rfind("table.", 0) == 0) {
        table.parts.push_back(PartTableFromJson(ReadBlob(input.digest())).value());
      }
    }
    const auto plan = Allocate(table, SpecOfTask(params), KeptTensors(Tiny().spec, *Tiny().checkpoint));
    EXPECT_OK(plan);
    add("plan", BitPlanToJson(plan.value()));
    add("table", DistortionTableToJson(table));
    add("reference", BitPlanToJson(plan.value()));
  } else if (task.kind() == "verdict") {
    for (const v1::TaskBlob& input : task.inputs()) {
      if (input.role() == "plan") add("plan", ReadBlob(input.digest()));
    }
  } else if (task.kind() == "evaluate") {
    add("scores", absl::StrCat("{\"", params.at("weights").get<std::string>(), "\":{}}"));
  } else {
    add("file.0", "weights of " + label);
    add("file.1", "{}");
    json files = json::array();
    const char* const paths[] = {"model.safetensors", "config.json"};
    for (int i = 0; i < 2; ++i) {
      files.push_back({{"path", paths[i]},
                       {"sha256", outputs[i].digest().sha256()},
                       {"size", outputs[i].digest().size_bytes()}});
    }
    add("scores", R"({"original":{"perplexity":{"value":10}},"planned":{"perplexity":{"value":11}}})");
    add("manifest", json{{"files", files}}.dump());
  }
  return outputs;
}

grpc::Status FakeWorker::Complete(const v1::AttemptRef& attempt, const std::vector<v1::TaskBlob>& outputs,
                                  v1::CompleteTaskResponse::Outcome* outcome) {
  v1::CompleteTaskRequest request;
  *request.mutable_attempt() = attempt;
  request.set_worker_id(options_.id);
  request.mutable_outputs()->Assign(outputs.begin(), outputs.end());
  request.set_seconds(0.5);
  request.set_determinism_class(options_.determinism_class);
  v1::CompleteTaskResponse response;
  const grpc::Status status = stub_->CompleteTask(WithDeadline().get(), request, &response);
  *outcome = response.outcome();
  return status;
}

void FakeWorker::Finish(const v1::Assign& assign) {
  v1::CompleteTaskResponse::Outcome outcome = v1::CompleteTaskResponse::OUTCOME_UNSPECIFIED;
  const grpc::Status status = Complete(AttemptOf(assign), Produce(assign.task()), &outcome);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED) << assign.task().task();
}

void FakeWorker::Fail(const v1::Assign& assign, const absl::Status& error) {
  v1::FailTaskRequest request;
  *request.mutable_attempt() = AttemptOf(assign);
  request.set_worker_id(options_.id);
  request.set_failure_class(v1::FailTaskRequest::INFRASTRUCTURE);
  *request.mutable_error() = ToRpcStatus(error);
  v1::FailTaskResponse response;
  const grpc::Status status = stub_->FailTask(WithDeadline().get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

void FakeWorker::Fail(const v1::Assign& assign, v1::FailTaskRequest::FailureClass failure_class) {
  v1::FailTaskRequest request;
  *request.mutable_attempt() = AttemptOf(assign);
  request.set_worker_id(options_.id);
  request.set_failure_class(failure_class);
  request.mutable_error()->set_code(static_cast<int>(absl::StatusCode::kInternal));
  request.mutable_error()->set_message("broken on purpose");
  v1::FailTaskResponse response;
  const grpc::Status status = stub_->FailTask(WithDeadline().get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

v1::Assign FakeWorker::RunUntil(const std::string& label) {
  while (true) {
    const v1::Assign assign = AwaitAssign();
    if (assign.token().empty() || LabelOf(assign) == label) return assign;
    Finish(assign);
    SetCredits(1);
  }
}

int FakeWorker::RunToEnd() {
  for (int ran = 1;; ++ran) {
    const v1::Assign assign = AwaitAssign();
    if (assign.token().empty()) return ran;  // the expectation in AwaitAssign has failed
    Finish(assign);
    if (assign.task().kind() == "publish") return ran;
    SetCredits(1);
  }
}

}  // namespace quantmoe
