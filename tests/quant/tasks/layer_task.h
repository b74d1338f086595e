// Inputs of the tasks of one layer of the shipped model: random tokens, of which none goes to expert 3.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "plan/allocate/distortion_table.h"
#include "quant/device/compute_device.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/run_task.h"
#include "quant/tensor_bytes.h"
#include "storage/blob_store.h"
#include "tests/quant/gptq/emulated_kernels.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {

inline constexpr int kTokens = 150, kHidden = 128, kExperts = 16;

class LayerTaskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(blobs_, LocalBlobStore::Open(dir_.path()));
    const std::string path = std::filesystem::canonical(QUANTMOE_TESTDATA "/tiny-qwen2-moe").string();
    params_ = {{"model_uri", path},
               {"layer", 1},
               {"widths", {2, 4}},
               {"group_size", 64},
               {"damp", 0.01},
               {"order", "activation"},
               {"all_tokens", nlohmann::json::array()},
               {"scales", "positive"},
               {"min_tokens_ratio", 0.25},
               {"gate_weighted", true},
               {"shrinkage", 1.0}};
    ASSERT_OK_AND_ASSIGN(std::shared_ptr<ModelDirectory> directory, OpenModel(path, models_));
    ASSERT_OK_AND_ASSIGN(const std::shared_ptr<Checkpoint> checkpoint, Checkpoint::Open(directory));
    params_["fingerprint"] = checkpoint->fingerprint();
    params_["correction"] = 0.5;
    for (int shard = 0; shard < 2; ++shard) AddShard(shard);
  }

  // Tokens of which no one goes to expert 3.
  void AddShard(int shard) {
    at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(shard));
    const at::Tensor x = at::randn({kTokens, kHidden}, generator) * at::exp(at::randn({kHidden}, generator));
    at::Tensor scores = at::rand({kTokens, kExperts}, generator);
    scores.select(1, 3).zero_();
    auto [weights, experts] = scores.topk(4, 1);
    Store(absl::StrCat("ffn_input.", shard), {{"ffn_input", x}, {"stream_squares", x.pow(2).sum(1)}});
    Store(absl::StrCat("routing.", shard),
          {{"experts", experts.to(at::kInt).contiguous()}, {"weights", weights.contiguous()}});
    const at::Tensor hidden = x.view({2, kTokens / 2, kHidden}),
                     noise = at::randn({kTokens, kHidden}, generator);
    Store(absl::StrCat("hidden.", shard), {{"hidden", hidden}});
    Store(absl::StrCat("quantized.", shard),
          {{"hidden", hidden + 0.1 * noise.view_as(hidden)}, {"ffn_input", x + 0.1 * noise}});
  }
  void Store(const std::string& role, const NamedTensors& tensors) {
    ASSERT_OK_AND_ASSIGN(const Digest digest, PutTensors(*blobs_, tensors));
    inputs_.push_back({role, digest});
  }

  absl::StatusOr<std::map<std::string, Digest>> Run(int part, const ComputeDevice& device,
                                                    TaskKind kind = TaskKind::kSolve) {
    params_["part"] = part;
    TaskContext context{*blobs_, models_, [](double, absl::string_view) {}, cancelled_, &device};
    const auto outputs = RunTask(kind, params_.dump(), inputs_, context);
    if (!outputs.ok()) return outputs.status();
    std::map<std::string, Digest> by_role;
    for (const BlobRef& output : *outputs) by_role[output.role] = output.digest;
    return by_role;
  }
  PartTable Table(const std::map<std::string, Digest>& outputs) {
    return PartTableFromJson(blobs_->Open(outputs.at("table")).value().bytes()).value();
  }

  const TemporaryDirectory dir_;
  ModelSources models_{.roots = {}, .confined = false, .hub = {}};
  std::unique_ptr<LocalBlobStore> blobs_;
  nlohmann::json params_;
  std::vector<BlobRef> inputs_;
  const std::atomic<bool> cancelled_{false};
  const ComputeDevice cpu_ = {};
  // The host with the kernels of a GPU: everything is solved in batches.
  const ComputeDevice batching_{.kernels = EmulatedKernels()};
};

}  // namespace quantmoe
