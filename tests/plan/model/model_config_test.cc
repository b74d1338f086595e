#include "plan/model/model_config.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "plan/model/family.h"
#include "tests/plan/model/config_samples.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(ModelConfigTest, ReadsEveryGoldenConfig) {
  for (const std::string& family : GoldenNames()) {
    ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                         ParseModelConfig(ReadTestdata("goldens/" + family + "/config.json")));
    EXPECT_EQ(spec.hidden, 64) << family;
    EXPECT_EQ(spec.vocab, 320) << family;
    EXPECT_EQ(spec.attention.heads, 4) << family;
  }
}

TEST(ModelConfigTest, ReadsTheTinyModel) {
  ASSERT_OK_AND_ASSIGN(const ModelSpec spec, ParseModelConfig(ReadTestdata("tiny-qwen2-moe/config.json")));
  EXPECT_EQ(spec.model_type, "qwen2_moe");
  EXPECT_EQ(spec.num_layers(), 8);
  EXPECT_FALSE(spec.layers[0].moe);
  EXPECT_EQ(spec.layers[0].dense_width, 512);
  EXPECT_TRUE(spec.layers[1].moe);
  EXPECT_EQ(spec.moe.experts, 16);
  EXPECT_EQ(spec.moe.top_k, 4);
  EXPECT_EQ(spec.moe.shared, SharedKind::kSigmoidGated);
  EXPECT_EQ(spec.moe.shared_width, 256);
  EXPECT_FALSE(spec.moe.renormalize);
  EXPECT_TRUE(spec.attention.bias_qkv);
  EXPECT_FALSE(spec.attention.bias_o);
  EXPECT_EQ(spec.rope.theta, 10000);
  EXPECT_DOUBLE_EQ(spec.attention.scale, 1 / std::sqrt(32.0));
}

TEST(ModelConfigTest, ArchitecturesThatContradictTheTypeAreRefused) {
  for (const char* family :
       {"deepseek_v1", "deepseek_v2", "glm4_moe", "llama", "mixtral", "olmoe", "qwen3_moe"}) {
    json config = GoldenJson(family);
    config["architectures"] = {"Qwen2MoeForCausalLM"};
    EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED")) << family;
  }
  const json v1 = Changed(GoldenJson("deepseek_v1"), {{"architectures", {"DeepseekV2ForCausalLM"}}});
  EXPECT_EQ(GetErrorInfo(ParseModelConfig(v1.dump()).status()).metadata["field"], "kv_lora_rank");
}

TEST(ModelConfigTest, ProblemsOfALanguageModelHaveItsPlace) {
  const std::vector<std::tuple<json, std::string, std::string>> cases = {
      {{{"hidden_act", "gelu"}}, "MODEL_UNSUPPORTED", "text_config.hidden_act"},
      {{{"hidden_size", nullptr}}, "MODEL_INVALID", "text_config.hidden_size"},
      {{{"head_dim", nullptr}}, "MODEL_INVALID", "text_config.head_dim"},
      {{{"model_type", "llama"}}, "MODEL_UNSUPPORTED", "text_config.model_type"},
      {{{"attention_chunk_size", nullptr}}, "MODEL_INVALID", "text_config.attention_chunk_size"},
      {{{"no_rope_layers", {1}}}, "MODEL_INVALID", "text_config.no_rope_layers"},
      {{{"layer_types", {"full_attention"}}}, "MODEL_INVALID", "text_config.layer_types"},
      {{{"layer_types", json::array({"linear", "linear", "linear", "linear"})}},
       "MODEL_UNSUPPORTED",
       "text_config.layer_types"},
      {{{"attn_logit_softcapping", 30}}, "MODEL_UNSUPPORTED", "text_config.attn_logit_softcapping"},
      {{{"rope_scaling", {{"rope_type", "dynamic"}}}},
       "MODEL_UNSUPPORTED",
       "text_config.rope_scaling.rope_type"},
  };
  for (const auto& [changes, reason, field] : cases) {
    json config = GoldenJson("llama4");
    config["text_config"].update(changes);
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(reason)) << changes;
    EXPECT_EQ(GetErrorInfo(spec.status()).metadata["field"], field);
  }
  json config = GoldenJson("llama4");
  config["architectures"] = {"OlmoeForCausalLM"};
  EXPECT_EQ(GetErrorInfo(ParseModelConfig(config.dump()).status()).metadata["field"], "architectures");
  config = GoldenJson("llama4");
  config["text_config"] = 5;
  EXPECT_EQ(GetErrorInfo(ParseModelConfig(config.dump()).status()).metadata["field"], "text_config");
}

TEST(ModelConfigTest, LayerTypesAndWindows) {
  json config = LlamaJson();
  config["model_type"] = "qwen3";
  config["num_hidden_layers"] = 3;
  config["use_sliding_window"] = true;
  config["sliding_window"] = 64;
  EXPECT_EQ(ParseOrDie(config.dump()).layers[2].window, 0) << "max_window_layers is 28 when it is absent";
  config["max_window_layers"] = 2;
  EXPECT_EQ(ParseOrDie(config.dump()).layers[1].window, 0);
  EXPECT_EQ(ParseOrDie(config.dump()).layers[2].window, 64);
  config["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};
  EXPECT_EQ(ParseOrDie(config.dump()).layers[0].window, 64);
  EXPECT_EQ(ParseOrDie(config.dump()).layers[2].window, 0);
}

TEST(ModelConfigTest, WindowsWithoutAnAgreedMeaningAreRefused) {
  json config = MoeJson();
  config["use_sliding_window"] = true;
  config["sliding_window"] = 64;
  EXPECT_THAT(ParseModelConfig(config.dump()),
              testing::AllOf(HasReason("MODEL_UNSUPPORTED"), StatusIs(absl::StatusCode::kInvalidArgument,
                                                                      HasSubstr("`use_sliding_window`"))));
  for (const json& window : {json(nullptr), json(1 << 20)}) {
    config["sliding_window"] = window;
    EXPECT_EQ(ParseOrDie(config.dump()).layers[0].window, 0) << window;
  }
  json mistral = LlamaJson();
  mistral["model_type"] = "mistral";
  mistral["num_hidden_layers"] = 2;
  mistral["sliding_window"] = 64;
  mistral["layer_types"] = {"sliding_attention", "sliding_attention"};
  EXPECT_EQ(ParseOrDie(mistral.dump()).layers[1].window, 64);
  mistral["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_THAT(ParseModelConfig(mistral.dump()),
              testing::AllOf(HasReason("MODEL_UNSUPPORTED"),
                             StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`layer_types`"))));
}

TEST(ModelConfigTest, WhatTheReferenceIgnoresIsIgnored) {
  const ModelSpec plain = ParseOrDie(LlamaJson().dump());
  json config = LlamaJson();
  config["rope_scaling"] = json::object();
  EXPECT_EQ(ParseOrDie(config.dump()).rope.scaling, RopeScaling::kNone);
  config["rope_scaling"] = nullptr;
  config["text_config"] = json::object();
  config["no_rope_layers"] = json::array();
  EXPECT_EQ(ParseOrDie(config.dump()).rope.theta, plain.rope.theta);
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 2}, {"finetuned", true}, {"attn_factor", 1}};
  EXPECT_EQ(ParseOrDie(config.dump()).rope.scaling, RopeScaling::kYarn);
  config["rope_scaling"]["attn_factor"] = 2;
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED"));
  config["rope_scaling"].erase("attn_factor");
  config["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_INVALID")) << "two rope objects that differ";
}

TEST(ModelConfigTest, NumbersOfPythonThatAreNoneInJsonAreReadOrNamed) {
  const std::string text = LlamaJson().dump();
  const auto with = [&text](const std::string& field) { return "{" + field + "," + text.substr(1); };
  for (const char* word : {"Infinity", "-Infinity", "NaN", R"({"__float__":"Infinity"})"}) {
    EXPECT_OK(ParseModelConfig(with(absl::StrCat("\"router_z_loss\":[0.0,", word, "]")))) << word;
    EXPECT_THAT(ParseModelConfig(with(absl::StrCat("\"rope_theta\":", word))),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`rope_theta` is ")))
        << word;
  }
  EXPECT_THAT(ParseModelConfig(with(R"("rope_theta":Infinite)")), HasReason("MODEL_INVALID"));
  EXPECT_OK(ParseModelConfig(with(R"("note":"NaN, \"Infinity\" and -Infinity")")));
}

TEST(ModelConfigTest, TheNumberOfExpertsHasThreeNames) {
  json config = json::parse(MixtralConfig());
  const json experts = config["num_local_experts"];
  config.erase("num_local_experts");
  config["num_experts"] = experts;
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, experts.get<int64_t>());
  config["num_local_experts"] = experts;
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, experts.get<int64_t>());
  config["num_local_experts"] = experts.get<int64_t>() * 2;
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_INVALID"));
}

TEST(ModelConfigTest, ADtypeThatIsNoneIsNamed) {
  json config = LlamaJson();
  config["torch_dtype"] = "auto";
  EXPECT_THAT(ParseModelConfig(config.dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`torch_dtype` is \"auto\"")));
}

TEST(ModelConfigTest, SparseLayersInBothStyles) {
  json config = json::parse(SmallMoeConfig(/*layers=*/4));
  config["decoder_sparse_step"] = 2;
  config["mlp_only_layers"] = {3};
  ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_FALSE(spec.layers[0].moe);
  EXPECT_TRUE(spec.layers[1].moe);
  EXPECT_FALSE(spec.layers[2].moe);
  EXPECT_FALSE(spec.layers[3].moe);
  config["mlp_layer_types"] = {"sparse", "dense", "sparse", "sparse"};
  spec = ParseOrDie(config.dump());
  EXPECT_TRUE(spec.layers[0].moe);
  EXPECT_FALSE(spec.layers[1].moe);
  EXPECT_TRUE(spec.layers[3].moe);
}

struct BadField {
  json base;
  std::string field;
  json value;  // discarded: the field is taken away
  std::string reason;
};
TEST(ModelConfigTest, EveryBadFieldIsNamed) {
  const json erased(json::value_t::discarded);
  const std::vector<BadField> cases = {
      {LlamaJson(), "hidden_size", erased, "MODEL_INVALID"},
      {LlamaJson(), "hidden_size", "64", "MODEL_INVALID"},
      {LlamaJson(), "hidden_size", 64.5, "MODEL_INVALID"},
      {LlamaJson(), "hidden_size", -64, "MODEL_INVALID"},
      {LlamaJson(), "hidden_size", 18446744073709551615ull, "MODEL_INVALID"},
      {LlamaJson(), "vocab_size", nullptr, "MODEL_INVALID"},
      {LlamaJson(), "num_hidden_layers", 0, "MODEL_INVALID"},
      {LlamaJson(), "num_hidden_layers", 1000000000, "MODEL_INVALID"},
      {LlamaJson(), "num_attention_heads", 6, "MODEL_INVALID"},
      {LlamaJson(), "num_key_value_heads", 3, "MODEL_INVALID"},
      {LlamaJson(), "head_dim", 15, "MODEL_INVALID"},
      {LlamaJson(), "intermediate_size", erased, "MODEL_INVALID"},
      {LlamaJson(), "max_position_embeddings", erased, "MODEL_INVALID"},
      {LlamaJson(), "rms_norm_eps", 0, "MODEL_INVALID"},
      {LlamaJson(), "rms_norm_eps", 1e-320, "MODEL_INVALID"},
      {LlamaJson(), "rope_theta", -1, "MODEL_INVALID"},
      {LlamaJson(), "rope_theta", 0.5, "MODEL_INVALID"},
      {LlamaJson(), "rope_theta", 1e-320, "MODEL_INVALID"},
      {LlamaJson(), "torch_dtype", "int8", "MODEL_INVALID"},
      {LlamaJson(), "tie_word_embeddings", "yes", "MODEL_INVALID"},
      {LlamaJson(), "model_type", erased, "MODEL_INVALID"},
      {LlamaJson(), "model_type", "qwen3_next", "MODEL_UNSUPPORTED"},
      {LlamaJson(), "hidden_act", "gelu", "MODEL_UNSUPPORTED"},
      {LlamaJson(), "attn_logit_softcapping", 50.0, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "quantization_config", {{"quant_method", "gptq"}}, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "mlp_bias", true, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "kv_lora_rank", 512, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "architectures", {"LlamaForSequenceClassification"}, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "partial_rotary_factor", 0.5, "MODEL_UNSUPPORTED"},
      {LlamaJson(), "layer_types", {"full_attention"}, "MODEL_INVALID"},
      {LlamaJson(),
       "layer_types",
       {"full_attention", "full_attention", "linear_attention"},
       "MODEL_UNSUPPORTED"},
      {MoeJson(), "num_experts", 1 << 20, "MODEL_INVALID"},
      {MoeJson(), "num_experts_per_tok", 5, "MODEL_INVALID"},
      {MoeJson(), "moe_intermediate_size", erased, "MODEL_INVALID"},
      {MoeJson(), "shared_expert_intermediate_size", erased, "MODEL_INVALID"},
      {MoeJson(), "mlp_only_layers", {7}, "MODEL_INVALID"},
      {MoeJson(), "mlp_only_layers", "0", "MODEL_INVALID"},
      {MoeJson(), "mlp_layer_types", {"sparse"}, "MODEL_INVALID"},
      {MoeJson(), "mlp_layer_types", {"sparse", "sparse", "strange"}, "MODEL_UNSUPPORTED"},
      {MoeJson(), "n_shared_experts", 2, "MODEL_UNSUPPORTED"},
      {MoeJson(), "moe_layer_freq", 2, "MODEL_UNSUPPORTED"},
      {GoldenJson("olmoe"), "kv_lora_rank", 32, "MODEL_UNSUPPORTED"},
      {GoldenJson("olmoe"), "clip_qkv", -1, "MODEL_INVALID"},
      {GoldenJson("deepseek_v1"), "scoring_func", "sigmoid", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v1"), "moe_layer_freq", 2, "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v1"), "routed_scaling_factor", 2.5, "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v1"), "first_k_dense_replace", erased, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "kv_lora_rank", nullptr, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "qk_rope_head_dim", 7, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "v_head_dim", erased, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "topk_method", "noaux_tc", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v2"), "scoring_func", "sqrtsoftplus", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v2"), "norm_topk_prob", true, "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v2"), "n_group", 3, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "topk_group", 1, "MODEL_INVALID"},
      {GoldenJson("deepseek_v2"), "index_topk", 2048, "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v2"), "model_type", "deepseek_v32", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v3"), "topk_method", "greedy", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v3"), "scoring_func", "softmax", "MODEL_UNSUPPORTED"},
      {GoldenJson("deepseek_v3"), "n_group", erased, "MODEL_INVALID"},
      {GoldenJson("deepseek_v3"), "n_group", 16, "MODEL_INVALID"},
      {GoldenJson("deepseek_v3"), "n_routed_experts", 1 << 20, "MODEL_INVALID"},
      {GoldenJson("glm4_moe"), "partial_rotary_factor", 0.01, "MODEL_INVALID"},
      {GoldenJson("glm4_moe"), "topk_method", "greedy", "MODEL_UNSUPPORTED"},
      {GoldenJson("glm4_moe"), "attn_logit_softcapping", 30.0, "MODEL_UNSUPPORTED"},
  };
  for (const std::string& deep :
       {std::string(390'000, '['), std::string(195'000, '[') + std::string(195'000, ']'),
        "{\"model_type\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    EXPECT_THAT(ParseModelConfig(deep), HasReason("MODEL_INVALID"));
    EXPECT_THAT(ParseModelConfig(deep),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deeper nesting than 100")));
  }
  for (const BadField& bad : cases) {
    json config = bad.base;
    if (bad.value.is_discarded())
      config.erase(bad.field);
    else
      config[bad.field] = bad.value;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(bad.reason)) << bad.field;
    EXPECT_THAT(spec, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.field)));
    EXPECT_THAT(spec, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("config.json")));
    EXPECT_EQ(GetErrorInfo(spec.status()).metadata["field"], bad.field);
  }
}

TEST(ModelConfigTest, TheNumberOfExpertsHasTwoNames) {
  nlohmann::json config = nlohmann::json::parse(ReadTestdata("goldens/qwen3_moe/config.json"));
  config["num_local_experts"] = config["num_experts"];
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, 8);
  config["num_experts"] = 4;
  EXPECT_THAT(ParseModelConfig(config.dump()).status(), HasReason("MODEL_INVALID"));
  config.erase("num_experts");
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, 8);
}

TEST(ModelConfigTest, GarbageIsNoConfig) {
  for (const char* text : {"", "[]", "{", "null", "{\"model_type\": \"llama\"", "\xff\xfe"}) {
    EXPECT_THAT(ParseModelConfig(text), HasReason("MODEL_INVALID")) << text;
  }
}

TEST(ModelConfigTest, AnUnknownFamilyIsToldAllThatAreKnown) {
  const absl::Status status = ParseModelConfig(R"({"model_type": "gpt2"})").status();
  EXPECT_THAT(status, HasReason("MODEL_UNSUPPORTED"));
  for (const Family& family : Families()) {
    EXPECT_EQ(FindFamily(family.model_type), &family);
    EXPECT_THAT(status.message(), ::testing::HasSubstr(std::string(family.model_type)));
  }
}

}  // namespace
}  // namespace quantmoe
