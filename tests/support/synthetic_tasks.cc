#include "tests/support/synthetic_tasks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);
constexpr absl::Duration kCancelPoll = absl::Milliseconds(2);
// More than one chunk of a stream would hold if it were small; little enough to make many.
constexpr size_t kOutputBytes = 20'000;

class Outputs {
 public:
  Outputs(std::string key, BlobStore& blobs) : key_(std::move(key)), blobs_(blobs) {}

  absl::Status Add(const std::string& role) {
    const std::string seed = DigestOf(absl::StrCat(key_, "/", role)).sha256;
    std::string bytes;
    while (bytes.size() < kOutputBytes) bytes += seed;
    return Add(role, bytes);
  }
  absl::Status Add(const std::string& role, absl::string_view bytes) {
    ASSIGN_OR_RETURN(const Digest digest, blobs_.Put(bytes));
    refs_.push_back({role, digest});
    return absl::OkStatus();
  }
  const std::vector<BlobRef>& refs() const { return refs_; }

 private:
  const std::string key_;
  BlobStore& blobs_;
  std::vector<BlobRef> refs_;
};

absl::Status Prepare(Outputs& outputs) {
  RETURN_IF_ERROR(
      outputs.Add("summary", PrepareSummaryToJson({kSyntheticShards, 100, kSyntheticEvaluationShards, 50})));
  for (int i = 0; i <= kSyntheticShards; ++i) RETURN_IF_ERROR(outputs.Add(absl::StrCat("hidden.", i)));
  for (int i = 0; i < kSyntheticEvaluationShards; ++i)
    RETURN_IF_ERROR(outputs.Add(absl::StrCat("requests.", i)));
  for (const char* sample : {"search_sample", "verdict_sample"}) RETURN_IF_ERROR(outputs.Add(sample));
  return absl::OkStatus();
}

absl::Status Publish(Outputs& outputs) {
  RETURN_IF_ERROR(outputs.Add("file.0"));
  RETURN_IF_ERROR(outputs.Add("file.1", "{\"model_type\":\"synthetic\"}\n"));
  RETURN_IF_ERROR(outputs.Add("scores", "{}"));
  nlohmann::json files = nlohmann::json::array();
  const char* const paths[] = {"model.safetensors", "config.json"};
  for (int i = 0; i < 2; ++i) {
    const Digest& digest = outputs.refs()[i].digest;
    files.push_back({{"path", paths[i]}, {"sha256", digest.sha256}, {"size", digest.size_bytes}});
  }
  return outputs.Add("manifest", nlohmann::json{{"files", files}}.dump());
}

absl::Status AddAll(Outputs& outputs, std::initializer_list<const char*> roles) {
  for (const char* role : roles) RETURN_IF_ERROR(outputs.Add(role));
  return absl::OkStatus();
}

// Of the models that synthetic jobs are made for.
constexpr int kMostLayers = 16;

absl::Status Produce(TaskKind kind, Outputs& outputs) {
  switch (kind) {
    case TaskKind::kPrepare:
      return Prepare(outputs);
    case TaskKind::kForward:
      return AddAll(outputs, {"hidden", "middle", "ffn_input", "routing", "counts", "stream"});
    case TaskKind::kSolve:
      return AddAll(outputs, {"table", "w2", "w3", "w4", "w8"});
    case TaskKind::kProbe:
      return AddAll(outputs, {"sensitivity"});
    case TaskKind::kPredict:
      return AddAll(outputs, {"importance"});
    case TaskKind::kAllocate:
      return AddAll(outputs, {"plan", "table", "front", "reference"});
    case TaskKind::kRefine:
      for (int layer = 1; layer < kMostLayers; ++layer)
        RETURN_IF_ERROR(outputs.Add(absl::StrCat("stream.", layer).c_str()));
      return AddAll(outputs, {"plan", "search", "around"});
    case TaskKind::kVerdict:
      return AddAll(outputs, {"plan"});
    case TaskKind::kReSolve:
      return AddAll(outputs, {"plan", "weights"});
    case TaskKind::kAssemble:
      return AddAll(outputs, {"plan"});
    case TaskKind::kEvaluate:
      return AddAll(outputs, {"scores"});
    case TaskKind::kPublish:
      return Publish(outputs);
  }
  return absl::UnimplementedError("unknown kind");
}

}  // namespace

TaskFunction SyntheticTasks::For(const std::string& worker) {
  return [this, worker](TaskKind kind, const std::string& params, const std::vector<BlobRef>& inputs,
                        TaskContext& context) -> absl::StatusOr<std::vector<BlobRef>> {
    RETURN_IF_ERROR(Begin(worker, kind, context));
    // Inputs are read, so that one that is not there is noticed.
    for (const BlobRef& input : inputs) RETURN_IF_ERROR(context.blobs.Open(input.digest).status());
    Outputs outputs(TaskKey(kind, params, inputs, "synthetic"), context.blobs);
    RETURN_IF_ERROR(Produce(kind, outputs));
    context.progress(1, "written");
    return outputs.refs();
  };
}

absl::Status SyntheticTasks::Begin(const std::string& worker, TaskKind kind, const TaskContext& context) {
  absl::MutexLock lock(&mutex_);
  ++started_[kind];
  ++started_on_[worker];
  if (!rule_.has_value() || rule_->kind != kind || (!rule_->worker.empty() && rule_->worker != worker)) {
    return absl::OkStatus();
  }
  const auto held = held_.emplace(worker, kind);
  const absl::Status status = WaitForRelease(rules_, context, rule_->frozen);
  held_.erase(held);
  return status;
}

absl::Status SyntheticTasks::WaitForRelease(int64_t rule, const TaskContext& context, bool frozen) {
  const auto released = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return rules_ != rule; };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&released), kCancelPoll)) {
    if (context.cancelled && !frozen) return absl::CancelledError("cancelled");
  }
  return absl::OkStatus();
}

void SyntheticTasks::Hold(TaskKind kind, bool frozen) { HoldOn("", kind, frozen); }

void SyntheticTasks::HoldOn(const std::string& worker, TaskKind kind, bool frozen) {
  absl::MutexLock lock(&mutex_);
  ++rules_;
  rule_ = Rule{worker, kind, frozen};
}

void SyntheticTasks::Release() {
  absl::MutexLock lock(&mutex_);
  ++rules_;
  rule_.reset();
}

std::string SyntheticTasks::AwaitHeld() {
  absl::MutexLock lock(&mutex_);
  const auto held = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !held_.empty(); };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&held), kPatience)) << "no task was held";
  return held_.empty() ? "" : held_.begin()->first;
}

bool SyntheticTasks::IsHolding() {
  absl::MutexLock lock(&mutex_);
  return !held_.empty();
}

int SyntheticTasks::started(TaskKind kind) {
  absl::MutexLock lock(&mutex_);
  return started_[kind];
}

int SyntheticTasks::started_on(const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  return started_on_[worker];
}

}  // namespace quantmoe
