// The tasks that solve, with all inputs of a part in one batch, as on a GPU, against one after the other.
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "quant/device/compute_device.h"
#include "quant/gptq/packing.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/run_task.h"
#include "quant/tensor_bytes.h"
#include "tests/quant/gptq/emulated_kernels.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

constexpr int kTokens = 150, kHidden = 128, kExperts = 16;

class SolveTaskTest : public ::testing::Test {
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
  // Gives every blob and cuts its file at once, as somebody else may do while a task reads it.
  class CuttingStore final : public BlobStore {
   public:
    explicit CuttingStore(LocalBlobStore& blobs) : blobs_(blobs) {}
    absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override { return blobs_.Create(); }
    absl::StatusOr<bool> Contains(const Digest& digest) override { return blobs_.Contains(digest); }
    absl::StatusOr<MappedFile> Open(const Digest& digest) override {
      absl::StatusOr<MappedFile> file = blobs_.Open(digest);
      EXPECT_EQ(::truncate(blobs_.PathOf(digest).c_str(), 0), 0);
      return file;
    }

   private:
    LocalBlobStore& blobs_;
  };

  PartTable Table(const std::map<std::string, Digest>& outputs) {
    return PartTableFromJson(blobs_->Open(outputs.at("table")).value().bytes()).value();
  }

  const TemporaryDirectory dir_;
  ModelSources models_{.roots = {}, .confined = false, .hub = {}};
  std::unique_ptr<LocalBlobStore> blobs_;
  nlohmann::json params_;
  std::vector<BlobRef> inputs_;
  const std::atomic<bool> cancelled_{false};
  const ComputeDevice cpu_;
  // The host with the kernels of a GPU: everything is solved in batches.
  const ComputeDevice batching_{.kernels = EmulatedKernels()};
};

TEST_F(SolveTaskTest, ABatchOfExpertsGivesTheTableOfOneAfterTheOther) {
  // Parts of the layer: attention, the shared expert, all routed experts.
  for (const int part : {1, 2}) {
    ASSERT_OK_AND_ASSIGN(const auto alone, Run(part, cpu_));
    ASSERT_OK_AND_ASSIGN(const auto together, Run(part, batching_));
    const PartTable wanted = Table(alone), found = Table(together);
    ASSERT_EQ(found.rows.size(), wanted.rows.size());
    ASSERT_EQ(found.rows.size(), part == 1 ? 3u : 3u * kExperts);
    for (size_t i = 0; i < wanted.rows.size(); ++i) {
      const DistortionRow &a = wanted.rows[i], &b = found.rows[i];
      SCOPED_TRACE(a.linear.name);
      EXPECT_EQ(b.linear.name, a.linear.name);
      EXPECT_EQ(b.tokens, a.tokens);
      EXPECT_EQ(b.method, a.method);
      EXPECT_EQ(b.fallback, a.fallback);
      EXPECT_EQ(b.outlier_score, a.outlier_score);
      for (const auto& [bits, facts] : a.widths) {
        EXPECT_NEAR(b.widths.at(bits).distortion, facts.distortion, 0.01 * facts.distortion) << bits;
        // Of few tokens: one code that falls to the other side shows.
        EXPECT_NEAR(b.widths.at(bits).block_error, facts.block_error, 0.05 * facts.block_error) << bits;
      }
    }
    for (const char* width : {"w2", "w4"}) {
      ASSERT_OK_AND_ASSIGN(const NamedTensors one, GetTensors(*blobs_, alone.at(width)));
      ASSERT_OK_AND_ASSIGN(const NamedTensors other, GetTensors(*blobs_, together.at(width)));
      ASSERT_EQ(one.size(), other.size());
      for (const auto& [name, tensor] : one) EXPECT_EQ(other.at(name).sizes(), tensor.sizes()) << name;
    }
  }
}

TEST_F(SolveTaskTest, GroupAwareOrderIsSolvedOnTheHost) {
  params_["order"] = "group";
  for (const int part : {1, 2}) {
    ASSERT_OK_AND_ASSIGN(const auto on_host, Run(part, cpu_));
    ASSERT_OK_AND_ASSIGN(const auto on_device, Run(part, batching_));
    EXPECT_EQ(on_device, on_host);
  }
}

TEST_F(SolveTaskTest, TheReSolveGivesTheSameInABatch) {
  for (const int part : {0, 2}) {
    SCOPED_TRACE(part);
    ASSERT_OK_AND_ASSIGN(const auto solved, Run(part, cpu_));
    // Widths alternate, so that gate and up, which share a factor, differ.
    BitPlan plan;
    plan.group_size = 64;
    for (const DistortionRow& row : Table(solved).rows) {
      plan.linears.push_back(
          {row.linear, plan.linears.size() % 2 == 0 ? 2 : 4, DigestOf(""), 0, row.method, ""});
    }
    ASSERT_OK_AND_ASSIGN(const Digest planned, blobs_->Put(BitPlanToJson(plan)));
    inputs_.push_back({"plan", planned});
    ASSERT_OK_AND_ASSIGN(const auto alone, Run(part, cpu_, TaskKind::kReSolve));
    ASSERT_OK_AND_ASSIGN(const auto together, Run(part, batching_, TaskKind::kReSolve));
    inputs_.pop_back();
    ASSERT_OK_AND_ASSIGN(const BitPlan wanted,
                         BitPlanFromJson(blobs_->Open(alone.at("plan")).value().bytes()));
    ASSERT_OK_AND_ASSIGN(const BitPlan found,
                         BitPlanFromJson(blobs_->Open(together.at("plan")).value().bytes()));
    ASSERT_OK_AND_ASSIGN(const NamedTensors one, GetTensors(*blobs_, alone.at("weights")));
    ASSERT_OK_AND_ASSIGN(const NamedTensors other, GetTensors(*blobs_, together.at("weights")));
    ASSERT_EQ(found.linears.size(), plan.linears.size());
    bool supported = false;
    for (size_t i = 0; i < plan.linears.size(); ++i) {
      const std::string& name = plan.linears[i].linear.name;
      SCOPED_TRACE(name);
      EXPECT_EQ(found.linears[i].linear.name, wanted.linears[i].linear.name);
      EXPECT_EQ(found.linears[i].width, plan.linears[i].width);
      EXPECT_EQ(found.linears[i].method, wanted.linears[i].method);
      supported = supported || found.linears[i].method == "gptq_shrunk";
      const auto weight = [&](const NamedTensors& tensors) {
        const int bits = plan.linears[i].width;
        return Dequantize(UnpackRows(tensors.at(name + ".qweight"), bits), tensors.at(name + ".scales"), bits,
                          64);
      };
      // One code that falls to the other side moves what follows it.
      const at::Tensor a = weight(one), b = weight(other);
      EXPECT_LT((a - b).norm().item<float>(), 0.25 * a.norm().item<float>());
    }
    EXPECT_EQ(supported, part == 2);
  }
}

TEST_F(SolveTaskTest, WithoutADeviceNothingRuns) {
  params_["part"] = 1;
  TaskContext context{*blobs_, models_, [](double, absl::string_view) {}, cancelled_};
  EXPECT_THAT(RunTask(TaskKind::kSolve, params_.dump(), inputs_, context).status(),
              StatusIs(absl::StatusCode::kInternal));
}

TEST_F(SolveTaskTest, AnInputThatIsCutWhileItIsReadIsNamedAndNothingElseHappens) {
  params_["part"] = 1;
  CuttingStore cut(*blobs_);
  TaskContext context{cut, models_, [](double, absl::string_view) {}, cancelled_, &cpu_};
  const absl::Status status = RunTask(TaskKind::kSolve, params_.dump(), inputs_, context).status();
  EXPECT_THAT(status, testing::AllOf(StatusIs(absl::StatusCode::kDataLoss), HasReason("DIGEST_MISMATCH")));
  const std::string named = GetErrorInfo(status).metadata["sha256"];
  EXPECT_TRUE(std::any_of(inputs_.begin(), inputs_.end(), [&](const BlobRef& input) {
    return input.digest.sha256 == named;
  })) << named;
}

}  // namespace
}  // namespace quantmoe
