// The same weights in every form that checkpoints have: fused, transposed, sharded. Each case rewrites a
// golden model.
#include <functional>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"

#include "tests/quant/model/rewritten_model.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr LinearKind kExpertKinds[] = {LinearKind::kExpertGate, LinearKind::kExpertUp,
                                       LinearKind::kExpertDown};

// Puts the experts of each layer into one tensor, as transformers 5 does in memory.
NamedTensors Fuse(const ModelSpec& spec, NamedTensors tensors, bool transposed) {
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    if (!spec.layers[static_cast<size_t>(layer)].moe) continue;
    std::vector<at::Tensor> gate_up, down;
    for (int e = 0; e < spec.moe.experts; ++e) {
      std::vector<at::Tensor> own;
      for (const LinearKind kind : kExpertKinds)
        own.push_back(tensors.extract(LinearName(spec, layer, kind, e) + ".weight").mapped());
      gate_up.push_back(at::cat({own[0], own[1]}, 0));
      down.push_back(own[2]);
      if (!transposed) continue;
      gate_up.back() = gate_up.back().t();
      down.back() = down.back().t();
    }
    tensors[LayerPrefix(spec, layer) + "mlp.experts.gate_up_proj"] = at::stack(gate_up).contiguous();
    tensors[LayerPrefix(spec, layer) + "mlp.experts.down_proj"] = at::stack(down).contiguous();
  }
  return tensors;
}

// The reverse: gate and up are the halves of a fused tensor [experts, in, out].
NamedTensors Unfuse(const ModelSpec& spec, NamedTensors tensors) {
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    if (!spec.layers[static_cast<size_t>(layer)].moe) continue;
    const std::string module = absl::StrCat(LayerPrefix(spec, layer), spec.names.experts, ".");
    const std::vector<at::Tensor> gate_up = tensors.extract(module + "gate_up_proj").mapped().chunk(2, -1);
    const at::Tensor down = tensors.extract(module + "down_proj").mapped();
    const at::Tensor sources[] = {gate_up[0], gate_up[1], down};
    for (int e = 0; e < spec.moe.experts; ++e) {
      for (size_t k = 0; k < 3; ++k) {
        tensors[LinearName(spec, layer, kExpertKinds[k], e) + ".weight"] = sources[k][e].t().contiguous();
      }
    }
  }
  return tensors;
}

void Rename(NamedTensors& tensors, absl::string_view from, absl::string_view to) {
  NamedTensors renamed;
  for (auto& [name, tensor] : tensors) renamed[absl::StrReplaceAll(name, {{from, to}})] = std::move(tensor);
  tensors = std::move(renamed);
}

// Published in one tensor a layer; other tools write them one by one, as artifacts have them.
TEST_F(LayoutsTest, ExpertsOfMultimodalModelsMayBeOneByOne) {
  for (const char* family : {"llama4", "qwen3_vl_moe"}) {
    Source source = ReadGolden(family);
    ASSERT_OK_AND_ASSIGN(const Model fused, Write(source));
    EXPECT_EQ(ExpertStorage(fused.spec, *fused.checkpoint), "fused_transposed") << family;
    source.tensors = Unfuse(fused.spec, source.tensors);
    ASSERT_OK_AND_ASSIGN(const Model single, Write(source));
    EXPECT_EQ(ExpertStorage(single.spec, *single.checkpoint), "per_expert") << family;
    ExpectSame(fused, single);
  }
}

TEST_F(LayoutsTest, FusedExpertsAreTheSameModel) {
  for (const char* family : {"mixtral", "qwen2_moe", "qwen3_moe"}) {
    const Source source = ReadGolden(family);
    ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
    EXPECT_EQ(ExpertStorage(plain.spec, *plain.checkpoint), "per_expert");
    for (const bool transposed : {false, true}) {
      Source fused{source.config, Fuse(plain.spec, source.tensors, transposed)};
      Rename(fused.tensors, ".block_sparse_moe.gate.", ".mlp.gate.");
      ASSERT_OK_AND_ASSIGN(const Model model, Write(fused));
      EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), transposed ? "fused_transposed" : "fused");
      ExpectSame(plain, model);
    }
  }
}

// Halves of one expert lie together, so nothing but them is read; transposed ones do not.
TEST_F(LayoutsTest, OnlyTheSliceIsRead) {
  const Source source = ReadGolden("mixtral");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  const Linear linear = ListLinears(plain.spec)[4];
  ASSERT_EQ(linear.kind, LinearKind::kExpertGate);
  const int64_t own = 4 * linear.weights();
  for (const bool transposed : {false, true}) {
    ASSERT_OK_AND_ASSIGN(const Model model,
                         Write({source.config, Fuse(plain.spec, source.tensors, transposed)}));
    ASSERT_OK_AND_ASSIGN(const TensorView view, WeightView(model.spec, *model.checkpoint, linear));
    EXPECT_EQ(ReadBytes(*model.checkpoint, view), transposed ? 2 * own : own);
    EXPECT_EQ(StoredBytes(*model.checkpoint, view), own);
  }
}

TEST_F(LayoutsTest, ShardsMayHoldFusedExperts) {
  const Source source = ReadGolden("qwen3_moe");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  NamedTensors shards[2];
  json index = {{"weight_map", json::object()}};
  for (auto& [name, tensor] : Fuse(plain.spec, source.tensors, /*transposed=*/false)) {
    const size_t shard = std::hash<std::string>()(name) % 2;
    shards[shard][name] = tensor;
    index["weight_map"][name] = absl::StrCat("model-0000", shard + 1, "-of-00002.safetensors");
  }
  const auto directory = WriteConfig(source.config);
  std::ofstream(directory / "model.safetensors.index.json") << index.dump();
  for (int i = 0; i < 2; ++i) {
    const std::string name = absl::StrCat("model-0000", i + 1, "-of-00002.safetensors");
    ASSERT_OK(WriteTensorFile((directory / name).string(), shards[i]));
  }
  ASSERT_OK_AND_ASSIGN(const Model model, Open(directory));
  ExpectSame(plain, model);
}

// In the plain form of GPT-OSS, gate and up are alternating columns; its biases alternate too.
TEST_F(LayoutsTest, GateAndUpOfGptOssAlternate) {
  const Source source = ReadGolden("gpt_oss");
  ASSERT_OK_AND_ASSIGN(const Model model, Write(source));
  CheckpointWeights weights(model.spec, model.checkpoint, at::kFloat);
  const std::string fused = "model.layers.1.mlp.experts.gate_up_proj";
  for (const Linear& linear : ListLinears(model.spec)) {
    if (linear.layer != 1 || linear.expert != 3 || linear.kind == LinearKind::kExpertDown) continue;
    const int first = linear.kind == LinearKind::kExpertUp;
    ASSERT_OK_AND_ASSIGN(const LinearLayer read, LoadLinear(weights, linear));
    EXPECT_TRUE(read.weight.equal(source.tensors.at(fused)[3].slice(1, first, 48, 2).t()));
    EXPECT_TRUE(read.bias.equal(source.tensors.at(fused + "_bias")[3].slice(0, first, 48, 2)));
  }
}

// Granite's halves, the same as transformers 5 names them, and one by one as an artifact names them.
TEST_F(LayoutsTest, GraniteHalvesAreTheSameModel) {
  const Source source = ReadGolden("granitemoe");
  ASSERT_OK_AND_ASSIGN(const Model published, Write(source));
  EXPECT_EQ(ExpertStorage(published.spec, *published.checkpoint), "fused");
  Source renamed = source, single = source;
  Rename(renamed.tensors, ".input_linear.weight", ".experts.gate_up_proj");
  Rename(renamed.tensors, ".output_linear.weight", ".experts.down_proj");
  Rename(renamed.tensors, ".router.layer.", ".router.");
  ASSERT_OK_AND_ASSIGN(const Model model, Write(renamed));
  ExpectSame(published, model);
  CheckpointWeights weights(published.spec, published.checkpoint, at::kFloat);
  for (const Linear& linear : ListLinears(published.spec)) {
    ASSERT_OK_AND_ASSIGN(single.tensors[linear.name + ".weight"], weights.LinearWeight(linear));
  }
  std::erase_if(single.tensors,
                [](const auto& tensor) { return tensor.first.ends_with("put_linear.weight"); });
  ASSERT_OK_AND_ASSIGN(const Model one_by_one, Write(single));
  EXPECT_EQ(ExpertStorage(one_by_one.spec, *one_by_one.checkpoint), "per_expert");
  ExpectSame(published, one_by_one);
}

TEST_F(LayoutsTest, BadExpertTensorsAreNamedWithTheirFile) {
  const Source source = ReadGolden("qwen3_moe");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  const NamedTensors fused = Fuse(plain.spec, source.tensors, /*transposed=*/false);
  const std::string gate_up = "model.layers.0.mlp.experts.gate_up_proj";
  const std::string down = "model.layers.0.mlp.experts.down_proj";
  struct Case {
    std::function<void(NamedTensors&)> spoil;
    std::string says;
  };
  const std::vector<Case> cases = {
      {[&](NamedTensors& t) { t[gate_up] = t[gate_up].slice(0, 0, 4).contiguous(); },
       "model.safetensors: tensor " + gate_up + " has shape [4, 48, 64], expected [8, 48, 64]"},
      {[&](NamedTensors& t) { t[down] = t[down].slice(2, 0, 8).contiguous(); },
       "model.safetensors: tensor " + down + " has shape [8, 64, 8], expected [8, 64, 24]"},
      {[&](NamedTensors& t) { t[gate_up] = t[gate_up].to(at::kInt); },
       "model.safetensors: tensor " + gate_up + " has dtype I32, expected F32, F16 or BF16"},
      {[&](NamedTensors& t) { t.erase(down); }, "model.layers.0.mlp.experts.0.down_proj.weight"},
      {[&](NamedTensors& t) {
         t["model.layers.0.mlp.experts.0.gate_proj.weight"] = at::zeros({24, 64});
       },
       "hold the same weights"},
      {[&](NamedTensors& t) {
         t[gate_up + "_bias"] = at::zeros({8, 48});
       },
       "config.json says that it has no bias"},
      {[&](NamedTensors& t) {
         t[gate_up + "_blocks"] = at::zeros({8, 48, 2, 16}, at::kByte);
       },
       "hold the same weights"},
      {[&](NamedTensors& t) {
         t.erase(gate_up);
         t[gate_up + "_blocks"] = at::zeros({8, 48, 2, 16}, at::kByte);
       },
       "is MXFP4, which is unknown for qwen3_moe"},
  };
  for (const Case& bad : cases) {
    Source spoilt{source.config, fused};
    bad.spoil(spoilt.tensors);
    EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.says)));
  }
  Source more = source;
  more.tensors["model.layers.1.mlp.experts.8.gate_proj.weight"] = at::zeros({24, 64});
  EXPECT_THAT(Problem(more), StatusIs(absl::StatusCode::kInvalidArgument,
                                      AllOf(HasSubstr("experts.8.gate_proj"), HasSubstr("8 experts"))));
}

}  // namespace
}  // namespace quantmoe
