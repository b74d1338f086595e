// What is read of a file for views of it; decoding is tested in layouts_test.cc.
#include "quant/model/stored_tensor.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "quant/tensor_bytes.h"
#include "sources/model_sources.h"
#include "sources/model_uri.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

constexpr int64_t kExperts = 3, kIn = 4, kWidth = 6;
constexpr int64_t kMatrixBytes = kIn * 2 * kWidth * 4;

// Notes the length of each read.
class NotingDirectory : public ModelDirectory {
 public:
  explicit NotingDirectory(std::unique_ptr<ModelDirectory> inner) : inner_(std::move(inner)) {}
  const ModelUri& uri() const override { return inner_->uri(); }
  absl::StatusOr<std::vector<ModelFile>> List() override { return inner_->List(); }
  absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) override {
    return inner_->ListFolder(folder);
  }
  absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) override {
    lengths.push_back(length);
    return inner_->Read(name, offset, length);
  }

  std::vector<int64_t> lengths;

 private:
  std::unique_ptr<ModelDirectory> inner_;
};

class ViewReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    fused_ = at::arange(kExperts * kIn * 2 * kWidth).to(at::kFloat).view({kExperts, kIn, 2 * kWidth});
    ASSERT_OK(WriteTensorFile(dir_ / "model.safetensors", {{"fused", fused_}}));
    ASSERT_OK_AND_ASSIGN(auto files, OpenModelDirectory({ModelUri::Scheme::kFile, dir_.path()}));
    directory_ = std::make_shared<NotingDirectory>(std::move(files));
    ASSERT_OK_AND_ASSIGN(checkpoint_, Checkpoint::Open(directory_));
    directory_->lengths.clear();
  }

  // Gate (0) or up (1) of an expert, stored [in, out]: alternating outputs, or halves.
  static TensorView Half(int64_t expert, int64_t which, bool alternating) {
    TensorView view;
    view.tensor = "fused";
    view.shape = {kWidth, kIn};
    view.expert = expert;
    view.transposed = true;
    view.stride = alternating ? 2 : 1;
    view.first = alternating ? which : which * kWidth;
    return view;
  }

  const TemporaryDirectory dir_;
  at::Tensor fused_;
  std::shared_ptr<NotingDirectory> directory_;
  std::shared_ptr<Checkpoint> checkpoint_;
};

TEST_F(ViewReaderTest, GateAndUpOfOneMatrixAreReadOnce) {
  ViewReader reader(*checkpoint_);
  for (const bool alternating : {false, true}) {
    directory_->lengths.clear();
    for (int64_t expert = 0; expert < kExperts; ++expert) {
      for (const int64_t which : {0, 1}) {
        const TensorView view = Half(expert, which, alternating);
        ASSERT_OK_AND_ASSIGN(const at::Tensor read, reader.Read(view));
        const at::Tensor expected =
            fused_[expert].t().slice(0, view.first, view.first + view.stride * kWidth, view.stride);
        EXPECT_TRUE(read.equal(expected)) << expert << " " << which;
      }
    }
    EXPECT_THAT(directory_->lengths, testing::ElementsAre(kMatrixBytes, kMatrixBytes, kMatrixBytes));
  }
}

TEST_F(ViewReaderTest, WhatIsReadWholeIsNotHeld) {
  ViewReader reader(*checkpoint_);
  TensorView rows = Half(1, 0, /*alternating=*/false);
  rows.transposed = false;
  rows.shape = {2, 2 * kWidth};
  ASSERT_OK(reader.Read(rows));
  ASSERT_OK(reader.Read(rows));
  const int64_t row_bytes = kMatrixBytes / kIn;
  EXPECT_THAT(directory_->lengths, testing::ElementsAre(2 * row_bytes, 2 * row_bytes));
}

}  // namespace
}  // namespace quantmoe
