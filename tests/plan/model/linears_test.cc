#include "plan/model/linears.h"

#include <algorithm>
#include <set>

#include "plan/model/tensor_problems.h"
#include "plan/model/tensor_views.h"
#include "sources/model_directory.h"
#include "sources/model_sources.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Checkpoint> OpenTestModel(const std::string& path) {
  absl::StatusOr<std::unique_ptr<ModelDirectory>> directory =
      OpenModelDirectory({ModelUri::Scheme::kFile, std::string(QUANTMOE_TESTDATA) + "/" + path});
  if (!directory.ok()) throw std::runtime_error(directory.status().ToString());
  absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint = Checkpoint::Open(*std::move(directory));
  if (!checkpoint.ok()) throw std::runtime_error(checkpoint.status().ToString());
  return *std::move(checkpoint);
}

TEST(LinearsTest, EveryTensorOfTheTestModelsIsWhereTheNamesSay) {
  std::vector<std::string> paths = {"tiny-qwen2-moe"};
  for (const std::string& name : GoldenNames()) paths.push_back("goldens/" + name);
  for (const std::string& path : paths) {
    const ModelSpec spec = ParseOrDie(ReadTestdata(path + "/config.json"));
    const std::unique_ptr<Checkpoint> checkpoint = OpenTestModel(path);
    EXPECT_OK(CheckTensors(spec, *checkpoint)) << path;
    // Nothing is left over: linears, their biases and the named tensors are the whole checkpoint.
    std::set<std::string> named = {TensorNames::Embedding(spec), TensorNames::FinalNorm(spec),
                                   TensorNames::Head(spec)};
    const auto add_norm = [&](const std::string& name) {
      named.insert(name);
      if (spec.norm == NormKind::kLayerNorm) named.insert(BiasOf(name));
    };
    if (spec.head_bias) named.insert(TensorNames::HeadBias(spec));
    add_norm(TensorNames::FinalNorm(spec));
    for (const Linear& linear : ListLinears(spec)) {
      ASSERT_OK_AND_ASSIGN(const TensorView weight, WeightView(spec, *checkpoint, linear));
      named.insert(weight.tensor);
      if (!linear.bias) continue;
      ASSERT_OK_AND_ASSIGN(const TensorView bias, BiasView(spec, *checkpoint, linear));
      named.insert(bias.tensor);
    }
    for (int l = 0; l < spec.num_layers(); ++l) {
      add_norm(TensorNames::InputNorm(spec, l));
      add_norm(TensorNames::PostAttentionNorm(spec, l));
      for (const std::string& name :
           {TensorNames::QueryNorm(spec, l), TensorNames::KeyNorm(spec, l), TensorNames::Router(spec, l),
            TensorNames::CorrectionBias(spec, l), TensorNames::RouterBias(spec, l),
            TensorNames::Sinks(spec, l), TensorNames::SharedGate(spec, l)}) {
        if (!name.empty()) named.insert(name);
      }
    }
    const auto run = [&spec](const auto& tensor) { return ModuleNotRun(spec, tensor.first).empty(); };
    const auto& tensors = checkpoint->tensors();
    EXPECT_EQ(static_cast<int64_t>(named.size()), std::count_if(tensors.begin(), tensors.end(), run)) << path;
  }
}

TEST(LinearsTest, WrongShapesAndMissingTensorsAreNamed) {
  const std::unique_ptr<Checkpoint> checkpoint = OpenTestModel("goldens/mixtral");
  ModelSpec spec = ParseOrDie(ReadTestdata("goldens/mixtral/config.json"));
  spec.moe.width = 64;
  absl::Status status = CheckTensors(spec, *checkpoint);
  EXPECT_THAT(status, HasReason("MODEL_INVALID"));
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("model.layers.0.block_sparse_moe.experts.0.w1.weight has shape [32, 64], "
                                 "expected [64, 64]")));
  spec = ParseOrDie(ReadTestdata("goldens/mixtral/config.json"));
  spec.attention.bias_qkv = true;
  status = CheckTensors(spec, *checkpoint);
  EXPECT_THAT(status, HasReason("MODEL_INVALID"));
  EXPECT_EQ(GetErrorInfo(status).metadata["tensor"], "model.layers.0.self_attn.q_proj.bias");
}

TEST(LinearsTest, ABiasThatTheConfigDeniesIsRefused) {
  const std::unique_ptr<Checkpoint> checkpoint = OpenTestModel("goldens/qwen2_moe");
  ModelSpec spec = ParseOrDie(ReadTestdata("goldens/qwen2_moe/config.json"));
  spec.attention.bias_qkv = false;
  EXPECT_THAT(CheckTensors(spec, *checkpoint), HasReason("MODEL_INVALID"));
}

TEST(LinearsTest, NamesOfMixtralAndQwen) {
  const ModelSpec mixtral = ParseOrDie(MixtralConfig());
  EXPECT_EQ(LinearName(mixtral, 3, LinearKind::kExpertGate, 5),
            "model.layers.3.block_sparse_moe.experts.5.w1");
  EXPECT_EQ(LinearName(mixtral, 3, LinearKind::kExpertUp, 5), "model.layers.3.block_sparse_moe.experts.5.w3");
  EXPECT_EQ(LinearName(mixtral, 3, LinearKind::kExpertDown, 5),
            "model.layers.3.block_sparse_moe.experts.5.w2");
  EXPECT_EQ(TensorNames::Router(mixtral, 3), "model.layers.3.block_sparse_moe.gate.weight");
  EXPECT_EQ(TensorNames::SharedGate(mixtral, 3), "");
  const ModelSpec qwen = ParseOrDie(SmallMoeConfig());
  EXPECT_EQ(LinearName(qwen, 1, LinearKind::kSharedDown, -1), "model.layers.1.mlp.shared_expert.down_proj");
  EXPECT_EQ(LinearName(qwen, 0, LinearKind::kDenseGate, -1), "model.layers.0.mlp.gate_proj");
  EXPECT_EQ(LinearName(qwen, 1, LinearKind::kOutput, -1), "model.layers.1.self_attn.o_proj");
  EXPECT_EQ(TensorNames::Router(qwen, 0), "") << "layer 0 is dense";
}

TEST(LinearsTest, LatentAttentionIsSolvedInItsFactors) {
  const ModelSpec v3 = ParseOrDie(ReadTestdata("goldens/deepseek_v3/config.json"));
  const std::vector<Linear> linears = CutLayer(v3, 1).front().linears;
  ASSERT_EQ(linears.size(), 5u);
  EXPECT_EQ(linears[0].name, "model.layers.1.self_attn.q_a_proj");
  EXPECT_EQ(linears[1].name, "model.layers.1.self_attn.q_b_proj");
  EXPECT_EQ(linears[2].name, "model.layers.1.self_attn.kv_a_proj_with_mqa");
  EXPECT_EQ(linears[3].name, "model.layers.1.self_attn.kv_b_proj");
  EXPECT_EQ(linears[4].name, "model.layers.1.self_attn.o_proj");
  EXPECT_EQ(AttentionInputOf(linears[0].kind), AttentionInputOf(linears[2].kind))
      << "both see the layer's input";
  const std::set<LinearKind> inputs = {AttentionInputOf(linears[0].kind), AttentionInputOf(linears[1].kind),
                                       AttentionInputOf(linears[3].kind), AttentionInputOf(linears[4].kind)};
  EXPECT_EQ(inputs.size(), 4u);
  for (const Linear& linear : linears) EXPECT_TRUE(IsAttention(linear.kind)) << linear.name;
  EXPECT_EQ(CutLayer(v3, 1)[1].linears[0].name, "model.layers.1.mlp.shared_experts.gate_proj");
  EXPECT_EQ(TensorNames::CorrectionBias(v3, 1), "model.layers.1.mlp.gate.e_score_correction_bias");
}

TEST(LinearsTest, NamesBelowAMultimodalModel) {
  const ModelSpec llama4 = ParseOrDie(ReadTestdata("goldens/llama4/config.json"));
  EXPECT_EQ(TensorNames::Embedding(llama4), "language_model.model.embed_tokens.weight");
  EXPECT_EQ(TensorNames::Head(llama4), "language_model.lm_head.weight");
  EXPECT_EQ(LinearName(llama4, 1, LinearKind::kExpertUp, 3),
            "language_model.model.layers.1.feed_forward.experts.3.up_proj");
  EXPECT_EQ(LinearName(llama4, 0, LinearKind::kDenseGate, -1),
            "language_model.model.layers.0.feed_forward.gate_proj");
  EXPECT_EQ(TensorNames::QueryNorm(llama4, 0), "") << "its norm has no weight";
  EXPECT_EQ(CutLayer(llama4, 1)[1].linears[0].name,
            "language_model.model.layers.1.feed_forward.shared_expert.gate_proj");
  const ModelSpec qwen = ParseOrDie(ReadTestdata("goldens/qwen3_vl_moe/config.json"));
  EXPECT_EQ(TensorNames::Embedding(qwen), "model.language_model.embed_tokens.weight");
  EXPECT_EQ(TensorNames::Head(qwen), "lm_head.weight");
}

TEST(LinearsTest, WhatIsNotRunHasItsModule) {
  const ModelSpec llama4 = ParseOrDie(ReadTestdata("goldens/llama4/config.json"));
  EXPECT_EQ(ModuleNotRun(llama4, "language_model.model.layers.3.feed_forward.router.weight"), "");
  EXPECT_EQ(ModuleNotRun(llama4, "language_model.lm_head.weight"), "");
  EXPECT_EQ(ModuleNotRun(llama4, "vision_model.model.layers.4.mlp.fc1.weight"), "vision_model.")
      << "a layer of another model is none of this one";
  EXPECT_EQ(ModuleNotRun(llama4, "multi_modal_projector.linear_1.weight"), "multi_modal_projector.");
  const ModelSpec qwen = ParseOrDie(ReadTestdata("goldens/qwen3_vl_moe/config.json"));
  EXPECT_EQ(ModuleNotRun(qwen, "model.visual.blocks.0.attn.qkv.weight"), "model.visual.");
  EXPECT_EQ(ModuleNotRun(qwen, "model.language_model.layers.1.mlp.gate.weight"), "");
  EXPECT_EQ(ModuleNotRun(qwen, "model.language_model.layers.2.eh_proj.weight"),
            "model.language_model.layers.2.");
  const ModelSpec v3 = ParseOrDie(ReadTestdata("goldens/deepseek_v3/config.json"));
  EXPECT_EQ(ModuleNotRun(v3, "model.layers.3.eh_proj.weight"), "model.layers.3.");
}

TEST(LinearsTest, PartsCoverEveryLinearOnceAndExpertsInEqualRuns) {
  const std::string configs[] = {MixtralConfig(), SmallMoeConfig(/*layers=*/2, /*experts=*/60)};
  const int runs[] = {1, 15};
  for (int i = 0; i < 2; ++i) {
    const ModelSpec spec = ParseOrDie(configs[i]);
    std::set<std::string> seen;
    int experts = 0;
    for (const Part& part : CutParts(spec)) {
      for (const Linear& linear : part.linears) EXPECT_TRUE(seen.insert(linear.name).second) << linear.name;
      if (part.kind != PartKind::kExperts) continue;
      EXPECT_EQ(part.num_experts, runs[i]);
      EXPECT_EQ(part.linears.size(), 3u * runs[i]);
      experts += part.num_experts;
    }
    EXPECT_EQ(seen.size(), ListLinears(spec).size());
    EXPECT_EQ(experts, i == 0 ? 32 * 8 : 60);
  }
}

TEST(LinearsTest, KindNamesRoundTrip) {
  for (int kind = 0; kind <= static_cast<int>(LinearKind::kExpertDown); ++kind) {
    EXPECT_THAT(ParseLinearKind(LinearKindName(static_cast<LinearKind>(kind))),
                IsOkAndHolds(static_cast<LinearKind>(kind)));
  }
  EXPECT_FALSE(ParseLinearKind("router").ok());
}

}  // namespace
}  // namespace quantmoe
