// Exports of an artifact whose bytes are made by hand, read back by hand.
#include "quant/artifact/export.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"
#include "plan/model/model_config.h"
#include "quant/artifact/writer.h"
#include "sources/model_sources.h"
#include "tests/quant/artifact/packed_linears.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ExportTest : public ::testing::Test {
 protected:
  // Writes an artifact at 3 and 4 bits, some of its scales negative.
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(blobs_, LocalBlobStore::Open(dir_.path() + "/blobs"));
    const std::string source = std::filesystem::canonical(QUANTMOE_TESTDATA "/goldens/mixtral").string();
    ASSERT_OK_AND_ASSIGN(std::shared_ptr<ModelDirectory> directory, OpenModel(source, models_));
    ASSERT_OK_AND_ASSIGN(const std::shared_ptr<Checkpoint> checkpoint, Checkpoint::Open(directory));
    config_ = ReadTestFile(source + "/config.json");
    ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(config_));
    linears_ = RandomPlan(spec_, {3, 4}, 32, plan_);
    ASSERT_OK(StoreLinears(linears_, *blobs_, plan_));
    ASSERT_OK_AND_ASSIGN(const auto parts, WriteWeightFiles(plan_, spec_, *checkpoint, *blobs_));
    ASSERT_OK_AND_ASSIGN(const MappedFile weights, blobs_->Open(parts.at(0).digest));
    Add("model.safetensors", std::string(weights.bytes()));
    json config = json::parse(config_);
    config["quantization_config"] = {{"quant_method", "gptq"}, {"checkpoint_format", "gptq"}};
    Add("config.json", config.dump());
    Add("quantmoe_plan.json", BitPlanToJson(plan_));
    Add("tokenizer.json", "{\"carried\": true}");
    WriteManifest();
  }

  void Add(const std::string& path, const std::string& bytes) {
    std::filesystem::create_directories(artifact_);
    std::ofstream(artifact_ + "/" + path, std::ios::binary) << bytes;
    const Digest digest = DigestOf(bytes);
    files_[path] = {{"path", path}, {"sha256", digest.sha256}, {"size", digest.size_bytes}};
  }
  void WriteManifest() {
    json files = json::array();
    for (const auto& [path, entry] : files_) files.push_back(entry);
    std::ofstream(artifact_ + "/artifact.json")
        << json{{"format", "quantmoe.artifact"}, {"version", 1}, {"spec", json::object()}, {"files", files}};
  }

  absl::StatusOr<PublishedArtifact> Open() {
    absl::StatusOr<std::shared_ptr<ModelDirectory>> directory = OpenModel(artifact_, models_);
    if (!directory.ok()) return directory.status();
    return PublishedArtifact::Open(*directory);
  }

  // The files of an export, by path.
  std::map<std::string, std::string> Export(const std::string& format, const std::string& profile) {
    absl::StatusOr<PublishedArtifact> artifact = Open();
    EXPECT_OK(artifact.status());
    absl::StatusOr<ExportLayout> layout = LayOutExport(*artifact, *FindExportFormat(format), profile);
    EXPECT_OK(layout.status());
    widened_ = layout->widened;
    weight_file_bytes_ = layout->plan.weight_file_bytes;
    absl::StatusOr<Digest> manifest = WriteExport(*artifact, *layout, "1.2.3", *blobs_);
    EXPECT_OK(manifest.status());
    std::map<std::string, std::string> files;
    files["artifact.json"] = std::string(blobs_->Open(*manifest)->bytes());
    const json written = json::parse(files["artifact.json"]);
    for (const json& file : written["files"]) {
      files[file["path"]] = std::string(
          blobs_->Open(Digest{file["sha256"].get<std::string>(), file["size"].get<int64_t>()})->bytes());
    }
    return files;
  }

  const TemporaryDirectory dir_;
  const std::string artifact_ = dir_.path() + "/artifact";
  const ModelSources models_{.roots = {}, .confined = false, .hub = {}};
  std::unique_ptr<LocalBlobStore> blobs_;
  std::string config_;
  ModelSpec spec_;
  BitPlan plan_;
  std::vector<RandomLinear> linears_;
  std::map<std::string, json> files_;
  size_t widened_ = 0;
  int64_t weight_file_bytes_ = 0;
};

TEST_F(ExportTest, CompressedTensorsHoldTheSameNumbers) {
  const auto files = Export("compressed-tensors", "any");
  const RawTensors written = ReadSafetensors(files.at("model.safetensors"));
  for (const RandomLinear& expected : linears_) {
    const Linear& linear = expected.linear;
    SCOPED_TRACE(linear.name);
    const RawTensor& packed = written.at(linear.name + ".weight_packed");
    const RawTensor& scales = written.at(linear.name + ".weight_scale");
    const RawTensor& shape = written.at(linear.name + ".weight_shape");
    EXPECT_EQ(shape.At<int64_t>(0), linear.out);
    EXPECT_EQ(shape.At<int64_t>(1), linear.in);
    EXPECT_EQ(packed.shape, (std::vector<int64_t>{linear.out, linear.in * expected.bits / 32}));
    int64_t different = 0;
    for (int64_t out = 0; out < linear.out; ++out) {
      for (int64_t in = 0; in < linear.in; ++in) {
        const int code = StreamValue(packed, out * packed.shape[1], 1, in, expected.bits);
        const double scale = HalfValue(scales.At<uint16_t>(out * scales.shape[1] + in / 32));
        different += scale * (code - (1 << (expected.bits - 1))) != expected.Weight(out, in);
      }
    }
    EXPECT_EQ(different, 0);
  }
  EXPECT_EQ(json::parse(files.at("config.json"))["quantization_config"]["quant_method"],
            "compressed-tensors");
  EXPECT_EQ(widened_, 0u);
}

// vLLM loads 4 and 8 bits, symmetric ones only, and joins linears: everything is stored wider, nothing
// changes.
TEST_F(ExportTest, AWiderProfileHoldsTheSameNumbers) {
  const auto files = Export("gptq", "vllm");
  const RawTensors written = ReadSafetensors(files.at("model.safetensors"));
  const json plan = json::parse(files.at("quantmoe_plan.json"));
  EXPECT_GT(widened_, 0u);
  for (size_t i = 0; i < linears_.size(); ++i) {
    const Linear& linear = linears_[i].linear;
    SCOPED_TRACE(linear.name);
    const int bits = plan["linears"][i]["bits"];
    EXPECT_TRUE(bits == 4 || bits == 8);
    EXPECT_EQ(plan["linears"][i]["native_bits"], linears_[i].bits);
    const RawTensor& zeros = written.at(linear.name + ".qzeros");
    int64_t different = 0, odd_zeros = 0;
    for (int64_t out = 0; out < linear.out; ++out) {
      odd_zeros += StreamValue(zeros, 0, 1, out, bits) + 1 != 1 << (bits - 1);
      for (int64_t in = 0; in < linear.in; ++in) {
        different += GptqWeight(written, linear.name, out, in, bits) != linears_[i].Weight(out, in);
      }
    }
    EXPECT_EQ(different, 0);
    EXPECT_EQ(odd_zeros, 0) << "its kernels never look at zero points";
  }
}

TEST_F(ExportTest, TheManifestNamesEveryFileAndTheRestIsCarried) {
  const auto files = Export("compressed-tensors", "any");
  EXPECT_EQ(files.at("tokenizer.json"), "{\"carried\": true}");
  const json manifest = json::parse(files.at("artifact.json"));
  EXPECT_EQ(manifest["export"]["format"], "compressed-tensors");
  EXPECT_EQ(manifest["export"]["artifact_sha256"],
            DigestOf(ReadTestFile(artifact_ + "/artifact.json")).sha256);
  EXPECT_EQ(manifest["quantmoe"], "1.2.3");
  std::vector<std::string> paths;
  for (const json& file : manifest["files"]) paths.push_back(file["path"]);
  EXPECT_THAT(paths, ::testing::ElementsAre("README.md", "config.json", "model.safetensors",
                                            "quantmoe_plan.json", "tokenizer.json"));
  EXPECT_EQ(weight_file_bytes_, static_cast<int64_t>(files.at("model.safetensors").size()));
}

TEST_F(ExportTest, WhatAProfileCannotLoadIsSaid) {
  ASSERT_OK_AND_ASSIGN(const PublishedArtifact artifact, Open());
  const auto error = [&](const std::string& profile) {
    return LayOutExport(artifact, *FindExportFormat("gptq"), profile).status();
  };
  EXPECT_THAT(error("tgi"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tgi")));
  EXPECT_EQ(GetErrorInfo(error("tgi")).violations.at(0).field, "--profile");
  EXPECT_OK(error("sglang"));
  EXPECT_EQ(FindExportFormat("gguf"), nullptr);
}

TEST_F(ExportTest, AFileThatIsNotTheManifestsIsRefused) {
  std::ofstream(artifact_ + "/tokenizer.json", std::ios::binary) << "{\"carried\": nope}";
  const absl::Status status = Open().status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tokenizer.json")));
  EXPECT_EQ(GetErrorInfo(status).reason, "ARTIFACT_INVALID");
}

TEST_F(ExportTest, ZeroPointsThatThePlanDoesNotHaveAreRefused) {
  RawTensors tensors = ReadSafetensors(ReadTestFile(artifact_ + "/model.safetensors"));
  const RandomLinear& broken = linears_[1];
  tensors.at(broken.linear.name + ".qzeros").bytes[0] ^= 2;
  Add("model.safetensors", SafetensorsBytes(tensors));
  WriteManifest();
  ASSERT_OK_AND_ASSIGN(const PublishedArtifact artifact, Open());
  ASSERT_OK_AND_ASSIGN(const ExportLayout layout, LayOutExport(artifact, *FindExportFormat("gptq"), "any"));
  EXPECT_THAT(WriteExport(artifact, layout, "1.2.3", *blobs_).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(broken.linear.name + ".qzeros")));
}

}  // namespace
}  // namespace quantmoe
