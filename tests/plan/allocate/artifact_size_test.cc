#include "plan/allocate/artifact_size.h"

#include <map>
#include <set>
#include <string>

#include "nlohmann/json.hpp"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

int FourBits(const Linear&) { return 4; }

TEST(ArtifactSizeTest, PackedTensorsHaveTheShapesOfTheFormat) {
  const Linear linear{"p", 0, LinearKind::kQuery, -1, 96, 256, false};
  const std::vector<TensorInfo> tensors = PackedTensors(linear, 3, 64);
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "p.qweight");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{256 * 3 / 32, 96}));
  EXPECT_EQ(tensors[1].name, "p.qzeros");
  EXPECT_EQ(tensors[1].shape, (std::vector<int64_t>{4, 9}));
  EXPECT_EQ(tensors[2].name, "p.scales");
  EXPECT_EQ(tensors[2].dtype, DType::kF16);
  EXPECT_EQ(tensors[2].shape, (std::vector<int64_t>{4, 96}));
  EXPECT_EQ(tensors[3].name, "p.g_idx");
  EXPECT_EQ(tensors[3].shape, (std::vector<int64_t>{256}));
}

// The reader of safetensors refuses a file whose data does not end where the file does, so it checks the
// prediction.
void ExpectValidFile(const WeightFile& file) {
  absl::StatusOr<SafetensorsHeader> header =
      ParseSafetensorsHeader(file.layout.header, file.layout.file_size(), file.name);
  ASSERT_OK(header);
  EXPECT_EQ(header->tensors.size(), file.layout.tensors.size());
  EXPECT_EQ(header->metadata.at("format"), "pt");
}

TEST(ArtifactSizeTest, OneFileOfTheSmallModel) {
  const ModelSpec spec = ParseOrDie(SmallMoeConfig());
  const std::vector<TensorInfo> kept = {{"model.norm.weight", DType::kBF16, {128}}};
  const std::vector<WeightFile> files = LayOutWeightFiles(ListLinears(spec), kept, FourBits, 64);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].name, "model.safetensors");
  EXPECT_EQ(WeightIndexJson(files), "");
  EXPECT_EQ(WeightFileBytes(files), files[0].layout.file_size());
  ExpectValidFile(files[0]);
}

TEST(ArtifactSizeTest, MixtralIsCutWithoutSplittingALinear) {
  const ModelSpec spec = ParseOrDie(MixtralConfig());
  const std::vector<TensorInfo> kept = {{"model.embed_tokens.weight", DType::kBF16, {32000, 4096}},
                                        {"model.layers.31.input_layernorm.weight", DType::kBF16, {4096}}};
  const std::vector<Linear> linears = ListLinears(spec);
  const std::vector<WeightFile> files = LayOutWeightFiles(linears, kept, FourBits, 128);
  ASSERT_GT(files.size(), 5u);
  std::map<std::string, std::string> file_of;
  int64_t bytes = 0;
  for (const WeightFile& file : files) {
    ExpectValidFile(file);
    bytes += file.layout.file_size();
    int64_t data = 0;
    for (const TensorInfo& tensor : file.layout.tensors) {
      EXPECT_TRUE(file_of.emplace(tensor.name, file.name).second);
      data += tensor.size_bytes();
    }
    EXPECT_LE(data, kMaxWeightFileBytes);
  }
  EXPECT_EQ(file_of.size(), 4 * linears.size() + kept.size());
  for (const Linear& linear : linears) {
    std::set<std::string> where;
    for (const TensorInfo& tensor : PackedTensors(linear, 4, 128)) where.insert(file_of.at(tensor.name));
    EXPECT_EQ(where.size(), 1u) << linear.name;
  }
  const nlohmann::json index = nlohmann::json::parse(WeightIndexJson(files));
  EXPECT_EQ(index["weight_map"], nlohmann::json(file_of));
  EXPECT_EQ(WeightFileBytes(files), bytes + static_cast<int64_t>(WeightIndexJson(files).size()));
  EXPECT_EQ(files.back().name, "model-0000" + std::to_string(files.size()) + "-of-0000" +
                                   std::to_string(files.size()) + ".safetensors");
}

}  // namespace
}  // namespace quantmoe
