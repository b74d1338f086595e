// Weights of a plan against codes and scales that are packed by hand.
#include "quant/artifact/quantized_weights.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/model/model_config.h"
#include "tests/quant/artifact/packed_linears.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

// Says which of its tensors was asked for.
class NamedSource : public WeightSource {
 public:
  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override { return Say(linear.name); }
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override { return Say(linear.name + ".bias"); }
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override { return Say(name); }

 private:
  static absl::Status Say(const std::string& name) { return absl::UnknownError("original " + name); }
};

// Opens count.
class CountingStore final : public BlobStore {
 public:
  explicit CountingStore(BlobStore& blobs) : blobs_(blobs) {}
  absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override { return blobs_.Create(); }
  absl::StatusOr<bool> Contains(const Digest& digest) override { return blobs_.Contains(digest); }
  absl::StatusOr<MappedFile> Open(const Digest& digest) override {
    ++opened;
    return blobs_.Open(digest);
  }

  int opened = 0;

 private:
  BlobStore& blobs_;
};

class PlannedWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(ReadTestdata("goldens/mixtral/config.json")));
    ASSERT_OK_AND_ASSIGN(blobs_, LocalBlobStore::Open(dir_.path()));
    linears_ = RandomPlan(spec_, {2, 3, 4, 8}, 32, plan_);
    ASSERT_OK(StoreLinears(linears_, *blobs_, plan_));
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<LocalBlobStore> blobs_;
  ModelSpec spec_;
  BitPlan plan_;
  std::vector<RandomLinear> linears_;
  NamedSource original_;
};

TEST_F(PlannedWeightsTest, AreTheScaleTimesTheCentredCode) {
  PlannedWeights weights(plan_, original_, *blobs_);
  for (const RandomLinear& expected : linears_) {
    const Linear& linear = expected.linear;
    SCOPED_TRACE(linear.name);
    ASSERT_OK_AND_ASSIGN(const at::Tensor weight, weights.LinearWeight(linear));
    ASSERT_EQ(weight.sizes(), at::IntArrayRef({linear.out, linear.in}));
    int64_t different = 0;
    for (int64_t out = 0; out < linear.out; ++out) {
      for (int64_t in = 0; in < linear.in; ++in) {
        const float found = weight.const_data_ptr<float>()[out * weight.stride(0) + in * weight.stride(1)];
        different += static_cast<double>(found) != expected.Weight(out, in);
      }
    }
    EXPECT_EQ(different, 0);
  }
}

TEST_F(PlannedWeightsTest, WhatThePlanDoesNotHaveIsTheOriginal) {
  const Linear left_out = plan_.linears.back().linear;
  plan_.linears.pop_back();
  PlannedWeights weights(plan_, original_, *blobs_);
  EXPECT_EQ(weights.LinearWeight(left_out).status().message(), "original " + left_out.name);
  EXPECT_EQ(weights.Tensor("model.norm.weight").status().message(), "original model.norm.weight");
  const Linear& planned = plan_.linears.front().linear;
  EXPECT_OK(weights.LinearWeight(planned).status());
  EXPECT_EQ(weights.LinearBias(planned).status().message(), "original " + planned.name + ".bias");
}

TEST_F(PlannedWeightsTest, ABlobIsOpenedOnceForLinearsThatFollowOneAnother) {
  ASSERT_OK_AND_ASSIGN(const Digest other, blobs_->Put([&] {
    RawTensors tensors;
    linears_[2].AddTo(tensors);
    return SafetensorsBytes(tensors);
  }()));
  plan_.linears[2].blob = other;
  CountingStore counting(*blobs_);
  PlannedWeights weights(plan_, original_, counting);
  for (const size_t i : {0, 1, 2, 3}) {
    ASSERT_OK_AND_ASSIGN(const at::Tensor weight, weights.LinearWeight(linears_[i].linear));
    EXPECT_EQ(static_cast<double>(*weight.const_data_ptr<float>()), linears_[i].Weight(0, 0));
  }
  EXPECT_EQ(counting.opened, 3) << "the first one, the other one, the first one again";
}

TEST_F(PlannedWeightsTest, ALostBlobIsSaid) {
  std::filesystem::remove(blobs_->PathOf(plan_.linears[0].blob));
  PlannedWeights weights(plan_, original_, *blobs_);
  EXPECT_FALSE(weights.LinearWeight(linears_[0].linear).ok());
}

}  // namespace
}  // namespace quantmoe
