// The weight files of an artifact against bytes that are packed and read by hand.
#include "quant/artifact/writer.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/model/model_config.h"
#include "plan/model/tensor_views.h"
#include "sources/model_sources.h"
#include "tests/quant/artifact/packed_linears.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;

// A model with biases, a shared expert and a dense layer.
class WriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const ModelSources models{.roots = {}, .confined = false, .hub = {}};
    ASSERT_OK_AND_ASSIGN(std::shared_ptr<ModelDirectory> directory, OpenModel(path_, models));
    ASSERT_OK_AND_ASSIGN(source_, Checkpoint::Open(directory));
    ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(ReadTestFile(path_ + "/config.json")));
    ASSERT_OK_AND_ASSIGN(blobs_, LocalBlobStore::Open(dir_.path()));
    linears_ = RandomPlan(spec_, {2, 3, 4, 8}, 32, plan_);
    ASSERT_OK(StoreLinears(linears_, *blobs_, plan_));
  }

  const std::string path_ = std::filesystem::canonical(QUANTMOE_TESTDATA "/goldens/glm4_moe").string();
  const TemporaryDirectory dir_;
  std::unique_ptr<LocalBlobStore> blobs_;
  std::shared_ptr<Checkpoint> source_;
  ModelSpec spec_;
  BitPlan plan_;
  std::vector<RandomLinear> linears_;
};

TEST_F(WriterTest, EveryWeightIsWhatItsCodesAndScalesSay) {
  ASSERT_OK_AND_ASSIGN(const auto parts, WriteWeightFiles(plan_, spec_, *source_, *blobs_));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].path, "model.safetensors");
  ASSERT_OK_AND_ASSIGN(const MappedFile file, blobs_->Open(parts[0].digest));
  const RawTensors written = ReadSafetensors(file.bytes());
  for (const RandomLinear& expected : linears_) {
    const Linear& linear = expected.linear;
    SCOPED_TRACE(linear.name);
    int64_t different = 0, negative = 0;
    for (int64_t out = 0; out < linear.out; ++out) {
      for (int64_t in = 0; in < linear.in; ++in) {
        different += GptqWeight(written, linear.name, out, in, expected.bits) != expected.Weight(out, in);
      }
    }
    const RawTensor& scales = written.at(linear.name + ".scales");
    for (int64_t i = 0; i < scales.shape[0] * scales.shape[1]; ++i) negative += scales.At<uint16_t>(i) >> 15;
    EXPECT_EQ(different, 0);
    EXPECT_EQ(negative, 0) << "loaders expect positive scales";
  }
}

TEST_F(WriterTest, WhatIsNotQuantizedIsCopiedByteForByte) {
  ASSERT_OK_AND_ASSIGN(const auto parts, WriteWeightFiles(plan_, spec_, *source_, *blobs_));
  ASSERT_OK_AND_ASSIGN(const MappedFile file, blobs_->Open(parts[0].digest));
  RawTensors written = ReadSafetensors(file.bytes());
  for (const RandomLinear& linear : linears_) {
    for (const char* suffix : {".qweight", ".qzeros", ".scales", ".g_idx"}) {
      EXPECT_EQ(written.erase(linear.linear.name + suffix), 1u) << linear.linear.name << suffix;
    }
  }
  RawTensors kept = ReadSafetensors(ReadTestFile(path_ + "/model.safetensors"));
  for (const RandomLinear& linear : linears_) kept.erase(linear.linear.name + ".weight");
  ASSERT_EQ(written.size(), kept.size());
  size_t biases = 0;
  for (const auto& [name, tensor] : kept) {
    EXPECT_EQ(written.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(written.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(written.at(name).bytes, tensor.bytes) << name;
    biases += name.ends_with("q_proj.bias") ? 1 : 0;
  }
  EXPECT_GT(biases, 0u);
}

TEST_F(WriterTest, TheSizeIsThePredictedOneAndTheBytesRepeat) {
  ASSERT_OK_AND_ASSIGN(const auto once, WriteWeightFiles(plan_, spec_, *source_, *blobs_));
  ASSERT_OK_AND_ASSIGN(const auto again, WriteWeightFiles(plan_, spec_, *source_, *blobs_));
  EXPECT_EQ(once[0].digest, again[0].digest);
  std::vector<Linear> linears;
  std::map<std::string, int> widths;
  for (const RandomLinear& linear : linears_) {
    linears.push_back(linear.linear);
    widths[linear.linear.name] = linear.bits;
  }
  const auto files = LayOutWeightFiles(
      linears, KeptTensors(spec_, *source_), [&](const Linear& l) { return widths.at(l.name); }, 32);
  EXPECT_EQ(once[0].digest.size_bytes, WeightFileBytes(files));
}

TEST_F(WriterTest, ABlobWithoutATensorOfThePlanIsNamed) {
  RawTensors tensors;
  for (const RandomLinear& linear : linears_) linear.AddTo(tensors);
  const std::string missing = linears_[5].linear.name + ".scales";
  tensors.erase(missing);
  ASSERT_OK_AND_ASSIGN(const Digest digest, blobs_->Put(SafetensorsBytes(tensors)));
  for (PlannedLinear& planned : plan_.linears) planned.blob = digest;
  EXPECT_THAT(WriteWeightFiles(plan_, spec_, *source_, *blobs_).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(missing)));
}

TEST_F(WriterTest, ScalesThatAreNotFiniteAreNeverPublished) {
  linears_[4].scales[3] = 0x7e00;  // NaN
  ASSERT_OK(StoreLinears(linears_, *blobs_, plan_));
  EXPECT_THAT(
      WriteWeightFiles(plan_, spec_, *source_, *blobs_).status(),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr(linears_[4].linear.name + ".scales is not finite")));
}

TEST_F(WriterTest, ATensorOfAnotherSizeThanItsLayoutIsRefused) {
  const TensorInfo info{"weight", DType::kF32, {2}};
  const std::vector<WeightFile> files = {{"model.safetensors", LayOutSafetensors({info}, {})}};
  const auto read = [](const TensorInfo&) -> absl::StatusOr<MappedFile> {
    auto bytes = std::make_shared<const std::string>(4, 'x');
    return MappedFile(bytes, *bytes);
  };
  EXPECT_THAT(WriteLaidOutFiles(files, read, *blobs_).status(),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("weight")));
}

TEST_F(WriterTest, SeveralFilesGetAnIndex) {
  std::vector<WeightFile> files;
  const std::map<std::string, std::string> contents = {{"a", "1234"}, {"b", "56789abc"}};
  for (const auto& [name, bytes] : contents) {
    const TensorInfo info{name, DType::kU8, {static_cast<int64_t>(bytes.size())}};
    files.push_back({name + ".safetensors", LayOutSafetensors({info}, {})});
  }
  const auto read = [&](const TensorInfo& info) -> absl::StatusOr<MappedFile> {
    auto bytes = std::make_shared<const std::string>(contents.at(info.name));
    return MappedFile(bytes, *bytes);
  };
  ASSERT_OK_AND_ASSIGN(const auto parts, WriteLaidOutFiles(files, read, *blobs_));
  ASSERT_EQ(parts.size(), 3u);
  for (size_t i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "a" : "b";
    EXPECT_EQ(parts[i].path, name + ".safetensors");
    ASSERT_OK_AND_ASSIGN(const MappedFile file, blobs_->Open(parts[i].digest));
    EXPECT_EQ(ReadSafetensors(file.bytes()).at(name).bytes, contents.at(name));
  }
  EXPECT_EQ(parts[2].path, "model.safetensors.index.json");
  ASSERT_OK_AND_ASSIGN(const MappedFile index, blobs_->Open(parts[2].digest));
  EXPECT_EQ(nlohmann::json::parse(index.bytes()), nlohmann::json::parse(R"({"metadata": {"total_size": 12},
                                      "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})"));
}

}  // namespace
}  // namespace quantmoe
