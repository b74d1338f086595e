// The tasks that solve, with all inputs of a part in one batch, as on a GPU, against one after the other.
#include <unistd.h>

#include <algorithm>

#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "quant/gptq/packing.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"
#include "tests/quant/tasks/layer_task.h"

namespace quantmoe {
namespace {

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

using SolveTaskTest = LayerTaskTest;

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
