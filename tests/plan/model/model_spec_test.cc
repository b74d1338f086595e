#include "plan/model/model_spec.h"

#include <cmath>

#include "nlohmann/json.hpp"
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json LlamaJson() {
  return {{"model_type", "llama"},    {"hidden_size", 64},
          {"vocab_size", 320},        {"num_hidden_layers", 3},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"intermediate_size", 160}, {"max_position_embeddings", 4096}};
}
json MoeJson() { return json::parse(SmallMoeConfig()); }
json GoldenJson(const std::string& family) {
  return json::parse(ReadTestFile("goldens/" + family + "/config.json"));
}
json Changed(json config, const json& changes) {
  config.update(changes);
  return config;
}

TEST(ModelSpecTest, ReadsEveryGoldenConfig) {
  for (const std::string& family : GoldenNames()) {
    ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                         ParseModelConfig(ReadTestFile("goldens/" + family + "/config.json")));
    EXPECT_EQ(spec.hidden, 64) << family;
    EXPECT_EQ(spec.vocab, 320) << family;
    EXPECT_EQ(spec.attention.heads, 4) << family;
  }
}

TEST(ModelSpecTest, ReadsTheTinyModel) {
  ASSERT_OK_AND_ASSIGN(const ModelSpec spec, ParseModelConfig(ReadTestFile("tiny-qwen2-moe/config.json")));
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

TEST(ModelSpecTest, FamilyTraitsOfTheGoldens) {
  const ModelSpec mixtral = ParseOrDie(ReadTestFile("goldens/mixtral/config.json"));
  EXPECT_TRUE(mixtral.moe.renormalize);
  EXPECT_EQ(mixtral.rope.theta, 1e6);
  EXPECT_EQ(mixtral.layers[0].window, 0);
  const ModelSpec qwen2 = ParseOrDie(ReadTestFile("goldens/qwen2_moe/config.json"));
  EXPECT_FALSE(qwen2.layers[1].moe);
  EXPECT_EQ(qwen2.layers[1].dense_width, 96);
  EXPECT_EQ(qwen2.layers[3].window, 0) << "use_sliding_window is false";
  const ModelSpec qwen3 = ParseOrDie(ReadTestFile("goldens/qwen3_moe/config.json"));
  EXPECT_EQ(qwen3.attention.head_dim, 32);
  EXPECT_EQ(qwen3.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_TRUE(qwen3.moe.renormalize);
  EXPECT_EQ(qwen3.moe.shared, SharedKind::kNone);
  EXPECT_TRUE(ParseOrDie(ReadTestFile("goldens/llama_tied/config.json")).tied_embeddings);
}

TEST(ModelSpecTest, TraitsOfDeepSeekAndItsKin) {
  const ModelSpec v1 = ParseOrDie(GoldenJson("deepseek_v1").dump());
  EXPECT_FALSE(v1.attention.mla);
  EXPECT_FALSE(v1.layers[0].moe);
  EXPECT_EQ(v1.layers[0].dense_width, 96);
  EXPECT_EQ(v1.moe.shared, SharedKind::kPlain);
  EXPECT_EQ(v1.moe.shared_width, 48);
  EXPECT_EQ(v1.moe.router, RouterKind::kSoftmaxTopK);
  const ModelSpec v2 = ParseOrDie(GoldenJson("deepseek_v2").dump());
  EXPECT_TRUE(v2.attention.mla);
  EXPECT_EQ(v2.attention.q_lora, 0);
  EXPECT_EQ(v2.attention.head_dim, 24);
  EXPECT_EQ(v2.rope.dims, 8);
  EXPECT_TRUE(v2.rope.interleaved);
  EXPECT_EQ(v2.moe.router, RouterKind::kDeepSeekV2);
  EXPECT_EQ(v2.moe.top_k_groups, 2);
  EXPECT_EQ(v2.moe.routed_scale, 2.0);
  const ModelSpec v3 = ParseOrDie(GoldenJson("deepseek_v3").dump());
  EXPECT_EQ(v3.attention.q_lora, 40);
  EXPECT_EQ(v3.attention.qk_norm_eps, 1e-6) << "not the file's 1e-3";
  EXPECT_EQ(v3.norm_eps, 1e-3);
  EXPECT_EQ(v3.moe.router, RouterKind::kNoAuxTc);
  EXPECT_TRUE(v3.moe.correction_bias);
  EXPECT_TRUE(v3.moe.renormalize);
  const ModelSpec glm = ParseOrDie(GoldenJson("glm4_moe").dump());
  EXPECT_EQ(glm.rope.dims, 16);
  EXPECT_EQ(glm.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_TRUE(glm.attention.bias_qkv);
  EXPECT_FALSE(glm.attention.bias_o);
  const ModelSpec olmoe = ParseOrDie(Changed(GoldenJson("olmoe"), {{"clip_qkv", 8.0}}).dump());
  EXPECT_EQ(olmoe.norm_eps, 1e-5) << "absent in the published file";
  EXPECT_EQ(olmoe.attention.qk_norm, QkNorm::kFullWidth);
  EXPECT_EQ(olmoe.attention.clip_qkv, 8.0);
}

// The multipliers of the published DeepSeek-V2 and V3: YaRN with factor 40, mscale_all_dim 0.707 and 1.
TEST(ModelSpecTest, LatentAttentionWithYarnScalesItsLogits) {
  json config = GoldenJson("deepseek_v2_yarn");
  ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_NEAR(spec.attention.scale * std::sqrt(32.0), 1.5896, 1e-4);
  EXPECT_EQ(spec.rope.attention_factor, 1.0);
  config["rope_scaling"]["mscale"] = config["rope_scaling"]["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(ParseOrDie(config.dump()).attention.scale * std::sqrt(32.0), 1.8739, 1e-4);
}

// Published under one name with the attention of another.
TEST(ModelSpecTest, ARankForKeysAndValuesDecidesForLatentAttention) {
  const json early = Changed(GoldenJson("deepseek_v2"),
                             {{"model_type", "deepseek"}, {"architectures", {"DeepseekForCausalLM"}}});
  EXPECT_TRUE(ParseOrDie(early.dump()).attention.mla);
  EXPECT_EQ(ParseOrDie(early.dump()).moe.router, RouterKind::kDeepSeekV2);
  const ModelSpec grouped =
      ParseOrDie(Changed(GoldenJson("deepseek_v1"), {{"num_key_value_heads", 2}, {"head_dim", 32}}).dump());
  EXPECT_EQ(grouped.attention.kv_heads, 2);
  EXPECT_EQ(grouped.attention.head_dim, 32);
  const ModelSpec kimi = ParseOrDie(
      Changed(GoldenJson("deepseek_v3"), {{"model_type", "kimi_k2"}, {"n_group", 1}, {"topk_group", 1}})
          .dump());
  EXPECT_EQ(kimi.moe.router, RouterKind::kNoAuxTc);
  EXPECT_EQ(kimi.moe.groups, 1);
}

TEST(ModelSpecTest, ArchitecturesThatContradictTheTypeAreRefused) {
  for (const char* family :
       {"deepseek_v1", "deepseek_v2", "glm4_moe", "llama", "mixtral", "olmoe", "qwen3_moe"}) {
    json config = GoldenJson(family);
    config["architectures"] = {"Qwen2MoeForCausalLM"};
    EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED")) << family;
  }
  const json v1 = Changed(GoldenJson("deepseek_v1"), {{"architectures", {"DeepseekV2ForCausalLM"}}});
  EXPECT_EQ(GetErrorInfo(ParseModelConfig(v1.dump()).status()).metadata["field"], "kv_lora_rank");
}

TEST(ModelSpecTest, TraitsOfGptOss) {
  const std::string text = ReadTestFile("goldens/gpt_oss/config.json");
  const ModelSpec spec = ParseOrDie(text);
  EXPECT_TRUE(spec.norm_multiply_in_f32);
  EXPECT_TRUE(spec.attention.sinks);
  EXPECT_TRUE(spec.attention.bias_qkv && spec.attention.bias_o);
  EXPECT_EQ(spec.moe.router, RouterKind::kTopKSoftmax);
  EXPECT_TRUE(spec.moe.router_bias && spec.moe.expert_bias);
  EXPECT_EQ(spec.moe.activation, Activation::kClampedGlu);
  EXPECT_EQ(spec.moe.activation_limit, 7);
  EXPECT_TRUE(spec.storage.interleaved_experts);
  EXPECT_FALSE(spec.rope.truncate);
  EXPECT_NEAR(spec.rope.attention_factor, 1.3466, 1e-4);
  json config = json::parse(text);
  config.erase("layer_types");
  for (const ModelSpec& each : {spec, ParseOrDie(config.dump())}) {
    EXPECT_EQ(each.layers[0].window, 16);
    EXPECT_EQ(each.layers[1].window, 0);
    EXPECT_EQ(each.layers[2].window, 16);
  }
  config.erase("rope_scaling");
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_INVALID"));
}

TEST(ModelSpecTest, TraitsOfLlama4) {
  const json config = GoldenJson("llama4");
  const ModelSpec spec = ParseOrDie(config.dump());
  const bool moe[] = {false, true, false, true}, rope[] = {true, true, false, false};
  for (size_t l = 0; l < 4; ++l) {
    EXPECT_EQ(spec.layers[l].moe, moe[l]) << l;
    EXPECT_EQ(spec.layers[l].rope, rope[l]) << l;
    EXPECT_EQ(spec.layers[l].chunk, rope[l] ? 20 : 0) << l;
    EXPECT_EQ(spec.layers[l].dense_width, moe[l] ? 0 : 96) << l;
  }
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kUnitAfterRope);
  EXPECT_EQ(spec.attention.temperature_floor, 8);
  EXPECT_EQ(spec.attention.temperature_scale, 0.3);
  EXPECT_TRUE(spec.rope.interleaved);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(spec.moe.router, RouterKind::kTopKSigmoid);
  EXPECT_TRUE(spec.moe.scale_input);
  EXPECT_EQ(spec.moe.shared, SharedKind::kPlain);
  EXPECT_EQ(spec.moe.shared_width, 32);
  EXPECT_EQ(spec.dtype, "float32") << "stands beside the language model";
}

TEST(ModelSpecTest, Llama4InOtherSpellings) {
  json config = GoldenJson("llama4");
  json& text = config["text_config"];
  for (const char* key : {"no_rope_layers", "attention_chunk_size", "floor_scale", "attn_scale"})
    text.erase(key);
  text["moe_layers"] = {0, 2};
  text["attn_temperature_tuning"] = 4;  // as it was published
  text["rope_scaling"]["high_freq_factor"] = 1.0;
  const ModelSpec spec = ParseOrDie(config.dump());
  for (size_t l = 0; l < 4; ++l) {
    EXPECT_EQ(spec.layers[l].rope, l < 3) << l;
    EXPECT_EQ(spec.layers[l].chunk, l < 3 ? 8192 : 0) << l;
    EXPECT_EQ(spec.layers[l].moe, l % 2 == 0) << l;
  }
  EXPECT_EQ(spec.attention.temperature_floor, 8192);
  text["attn_temperature_tuning"] = false;
  text["layer_types"] = {"full_attention", "chunked_attention", "full_attention", "full_attention"};
  EXPECT_EQ(ParseOrDie(config.dump()).attention.temperature_floor, 0);
  EXPECT_EQ(ParseOrDie(config.dump()).layers[0].chunk, 0);
  EXPECT_EQ(ParseOrDie(config.dump()).layers[1].chunk, 8192);
  // The language model alone.
  text["model_type"] = "llama4_text";
  const ModelSpec alone = ParseOrDie(text.dump());
  EXPECT_EQ(TensorNames::Embedding(alone), "model.embed_tokens.weight");
  EXPECT_EQ(alone.layers[1].chunk, 8192);
}

TEST(ModelSpecTest, ProblemsOfALanguageModelHaveItsPlace) {
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

TEST(ModelSpecTest, TraitsOfErnie) {
  json config = GoldenJson("ernie4_5_moe");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_TRUE(spec.rope.interleaved);
  EXPECT_EQ(spec.moe.router, RouterKind::kBiasedSoftmax);
  EXPECT_EQ(spec.moe.top_k, 3);
  EXPECT_EQ(spec.moe.shared_width, 64);
  EXPECT_FALSE(spec.layers[0].moe);
  EXPECT_TRUE(spec.layers[2].moe);
  config.erase("tie_word_embeddings");
  EXPECT_TRUE(ParseOrDie(config.dump()).tied_embeddings) << "the default of the family";
  config["moe_layer_end_index"] = 1;
  EXPECT_FALSE(ParseOrDie(config.dump()).layers[2].moe);
}

TEST(ModelSpecTest, TraitsOfDots1) {
  json config = GoldenJson("dots1");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_EQ(spec.moe.router, RouterKind::kNoAuxTc);
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(spec.layers[1].window, 0);
  EXPECT_EQ(spec.layers[2].window, 16);
  config.erase("max_window_layers");
  EXPECT_EQ(ParseOrDie(config.dump()).layers[2].window, 0) << "from layer 62 on";
}

TEST(ModelSpecTest, TraitsOfMiniMaxM2) {
  json config = GoldenJson("minimax_m2");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_EQ(spec.rope.dims, 16);
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kFullWidth);
  EXPECT_EQ(spec.moe.router, RouterKind::kNoAuxTc);
  config["model_type"] = "minimax";  // as it was published
  EXPECT_EQ(ParseOrDie(config.dump()).rope.dims, 16);
  config["architectures"] = {"MiniMaxText01ForCausalLM"};
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED")) << "has linear attention";
}

TEST(ModelSpecTest, MiniMaxM2IsReadInTheFp8OfItsPublishedFiles) {
  json config = GoldenJson("minimax_m2");
  config["quantization_config"] = {
      {"activation_scheme", "dynamic"},
      {"fmt", "float8_e4m3fn"},
      {"quant_method", "fp8"},
      {"weight_block_size", {128, 128}},
      {"modules_to_not_convert", {"gate", "e_score_correction_bias", "lm_head"}}};
  const StorageSpec storage = ParseOrDie(config.dump()).storage;
  EXPECT_TRUE(storage.fp8);
  EXPECT_EQ(storage.fp8_block_rows, 128);
  EXPECT_EQ(storage.fp8_block_columns, 128);
  config["quantization_config"]["fmt"] = "float8_e5m2";
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED"));
}

TEST(ModelSpecTest, TraitsOfKimiK25) {
  json config = GoldenJson("kimi_k25");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_EQ(spec.moe.router, RouterKind::kNoAuxTc);
  EXPECT_TRUE(spec.attention.mla);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kYarn);
  config["text_config"]["model_type"] = "deepseek_v3";  // as transformers writes it
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, spec.moe.experts);
  config["text_config"]["model_type"] = "deepseek_v2";
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED"));
}

TEST(ModelSpecTest, TraitsOfHunyuan) {
  json config = GoldenJson("hunyuan_v1_moe");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_NEAR(spec.rope.theta, 1e4 * std::pow(1000, 32.0 / 30), 1e-3);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kPerHeadAfterRope);
  EXPECT_TRUE(spec.moe.router_in_f32 && spec.moe.renormalize);
  EXPECT_EQ(spec.moe.top_k, 3);
  for (const char* key : {"n_group", "routed_scaling_factor", "group_limited_greedy"}) config[key] = false;
  EXPECT_OK(ParseModelConfig(config.dump()));
}

TEST(ModelSpecTest, OptionsThatOneFamilyLacksAreRefusedThere) {
  const std::vector<std::tuple<std::string, std::string, json>> cases = {
      {"ernie4_5_moe", "use_bias", true},
      {"ernie4_5_moe", "moe_gate", "top2"},
      {"ernie4_5_moe", "moe_gate_act", "sigmoid"},
      {"ernie4_5_moe", "compression_ratio", 2.0},
      {"dots1", "scoring_func", "softmax"},
      {"minimax_m2", "attn_type_list", {1, 0, 1}},
      {"minimax_m2", "use_routing_bias", false},
      {"minimax_m2", "shared_intermediate_size", 64},
      {"minimax_m2", "qk_norm_type", "per_head"},
      {"hunyuan_v1_moe", "moe_topk", {3, 3, 2}},
      {"hunyuan_v1_moe", "num_shared_expert", {2, 2, 2}},
      {"hunyuan_v1_moe", "moe_intermediate_size", 64},
      {"hunyuan_v1_moe", "use_cla", true},
      {"hunyuan_v1_moe", "use_mixed_mlp_moe", false},
      {"hunyuan_v1_moe", "routed_scaling_factor", 2.5},
      {"solar_open", "use_qk_norm", true},
      {"mixtral", "rotary_dim", 8},
  };
  for (const auto& [family, key, value] : cases) {
    json config = GoldenJson(family);
    config[key] = value;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason("MODEL_UNSUPPORTED")) << family << " " << key;
    EXPECT_EQ(GetErrorInfo(spec.status()).metadata["field"], key);
  }
}

TEST(ModelSpecTest, TraitsOfPhimoe) {
  json config = json::parse(ReadTestFile("goldens/phimoe/config.json"));
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_EQ(spec.norm, NormKind::kLayerNorm);
  EXPECT_TRUE(spec.head_bias);
  EXPECT_EQ(spec.moe.router, RouterKind::kSparseMixer);
  EXPECT_EQ(spec.moe.jitter, 0.2);
  EXPECT_EQ(spec.layers[0].window, 0) << "the window is wider than the context";
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kLongRope);
  EXPECT_EQ(spec.rope.original_max_position, 64);
  EXPECT_EQ(spec.rope.long_factor.back(), 40);
  EXPECT_EQ(spec.rope.attention_factor, 1.243163121016122);
  config["rope_scaling"].erase("short_mscale");
  config["rope_scaling"]["long_mscale"] = 1.5;
  EXPECT_NEAR(ParseOrDie(config.dump()).rope.attention_factor, std::sqrt(1 + std::log(8) / std::log(64)),
              1e-12);
  EXPECT_EQ(ParseOrDie(config.dump()).rope.long_attention_factor, 1.5);
  config["num_experts_per_tok"] = 1;
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED"));
}

TEST(ModelSpecTest, TraitsOfGranite) {
  const ModelSpec spec = ParseOrDie(ReadTestFile("goldens/granitemoe/config.json"));
  EXPECT_EQ(spec.embedding_multiplier, 3);
  EXPECT_EQ(spec.attention.scale, 0.15);
  EXPECT_EQ(spec.residual_multiplier, 0.4);
  EXPECT_EQ(spec.logits_divisor, 2);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.moe.router, RouterKind::kTopKSoftmax);
}

TEST(ModelSpecTest, SourceQuantizationIsReadOrRefusedByName) {
  json config = MoeJson();
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {128, 64}}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 128);
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_columns, 64);
  config["quantization_config"] = {{"quant_method", "fp8"}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 128) << "as the class of transformers";
  config["quantization_config"] = {{"quant_method", "fp8"},
                                   {"weight_block_size", nullptr},
                                   {"activation_scheme", "static"},
                                   {"scale_fmt", "ue8m0"}};
  EXPECT_TRUE(ParseOrDie(config.dump()).storage.fp8);
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 0) << "a factor for a whole weight";
  config["quantization_config"] = {{"quant_method", "mxfp4"}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 0);
  const std::vector<std::tuple<json, std::string, std::string>> cases = {
      {{{"quant_method", "awq"}}, "MODEL_UNSUPPORTED", "awq"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}}, "MODEL_INVALID", "weight_block_size"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}, {"fmt", "e5m2"}},
       "MODEL_UNSUPPORTED",
       "e5m2"},
      {{{"quant_method", "fp8"}, {"activation_scheme", "martian"}}, "MODEL_UNSUPPORTED", "martian"},
      {{{"quant_method", "fp8"}, {"scale_fmt", "martian"}}, "MODEL_UNSUPPORTED", "martian"},
      {{{"quant_method", "fp8"}, {"expert_dtype", "fp4"}}, "MODEL_UNSUPPORTED", "fp4"},
      {{{"quant_method", nullptr}}, "MODEL_INVALID", "quant_method"},
      {{{"quant_method", 5}}, "MODEL_INVALID", "quant_method"},
      {json::object(), "MODEL_INVALID", "quant_method"},
      {json("fp8"), "MODEL_INVALID", "quantization_config"}};
  for (const auto& [quantization, reason, says] : cases) {
    config["quantization_config"] = quantization;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(reason)) << quantization;
    EXPECT_THAT(spec, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(says)));
  }
}

TEST(ModelSpecTest, AbsentKeysHaveTheDefaultsOfTheFamily) {
  const ModelSpec llama = ParseOrDie(LlamaJson().dump());
  EXPECT_EQ(llama.norm_eps, 1e-6);
  EXPECT_EQ(llama.rope.theta, 1e4);
  EXPECT_EQ(llama.attention.head_dim, 16);
  EXPECT_EQ(llama.dtype, "bfloat16");
  EXPECT_EQ(llama.architecture, "LlamaForCausalLM");
  json mixtral = json::parse(MixtralConfig());
  mixtral.erase("rope_theta");
  mixtral.erase("rms_norm_eps");
  EXPECT_EQ(ParseOrDie(mixtral.dump()).rope.theta, 1e6);
  EXPECT_EQ(ParseOrDie(mixtral.dump()).norm_eps, 1e-5);
  json mistral = LlamaJson();
  mistral["model_type"] = "mistral";
  EXPECT_EQ(ParseOrDie(mistral.dump()).layers[0].window, 4096);
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(ParseOrDie(mistral.dump()).layers[0].window, 0);
}

TEST(ModelSpecTest, RopeInBothStylesIsTheSame) {
  json old_style = LlamaJson();
  old_style["rope_theta"] = 5e5;
  old_style["rope_scaling"] = {{"rope_type", "llama3"},
                               {"factor", 8},
                               {"low_freq_factor", 1},
                               {"high_freq_factor", 4},
                               {"original_max_position_embeddings", 8192}};
  json new_style = LlamaJson();
  new_style["rope_parameters"] = old_style["rope_scaling"];
  new_style["rope_parameters"]["rope_theta"] = 5e5;
  for (const json& config : {old_style, new_style}) {
    const RopeSpec rope = ParseOrDie(config.dump()).rope;
    EXPECT_EQ(rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(rope.theta, 5e5);
    EXPECT_EQ(rope.factor, 8);
    EXPECT_EQ(rope.original_max_position, 8192);
    EXPECT_EQ(rope.attention_factor, 1);
  }
}

TEST(ModelSpecTest, YarnScalesCosineAndSine) {
  json config = LlamaJson();
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 32}, {"original_max_position_embeddings", 4096}};
  RopeSpec rope = ParseOrDie(config.dump()).rope;
  EXPECT_EQ(rope.scaling, RopeScaling::kYarn);
  EXPECT_NEAR(rope.attention_factor, 1.3466, 1e-4);
  EXPECT_TRUE(rope.truncate);
  config["rope_scaling"]["mscale"] = 0.707;
  config["rope_scaling"]["mscale_all_dim"] = 0.707;
  EXPECT_DOUBLE_EQ(ParseOrDie(config.dump()).rope.attention_factor, 1.0);
  config["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_DOUBLE_EQ(ParseOrDie(config.dump()).rope.attention_factor, 1.25);
}

TEST(ModelSpecTest, LayerTypesAndWindows) {
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

TEST(ModelSpecTest, WindowsWithoutAnAgreedMeaningAreRefused) {
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

TEST(ModelSpecTest, WhatTheReferenceIgnoresIsIgnored) {
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

TEST(ModelSpecTest, NumbersOfPythonThatAreNoneInJsonAreReadOrNamed) {
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

TEST(ModelSpecTest, TheNumberOfExpertsHasThreeNames) {
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

TEST(ModelSpecTest, ADtypeThatIsNoneIsNamed) {
  json config = LlamaJson();
  config["torch_dtype"] = "auto";
  EXPECT_THAT(ParseModelConfig(config.dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`torch_dtype` is \"auto\"")));
}

TEST(ModelSpecTest, SparseLayersInBothStyles) {
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

TEST(ModelSpecTest, EveryBadFieldIsNamed) {
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
      {LlamaJson(), "rope_theta", -1, "MODEL_INVALID"},
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

TEST(ModelSpecTest, BadRopeScalingIsNamed) {
  const std::vector<std::tuple<json, std::string, std::string>> cases = {
      {{{"rope_type", "dynamic"}, {"factor", 2}}, "MODEL_UNSUPPORTED", "rope_scaling.rope_type"},
      {{{"type", "longrope"}}, "MODEL_INVALID", "original_max_position_embeddings"},
      {{{"type", "longrope"}, {"original_max_position_embeddings", 64}, {"short_factor", {1.0, 2.0}}},
       "MODEL_INVALID",
       "rope_scaling.short_factor"},
      {{{"type", "longrope"}, {"original_max_position_embeddings", 64}, {"short_factor", {1.0, -2.0}}},
       "MODEL_INVALID",
       "rope_scaling.short_factor"},
      {{{"rope_type", "linear"}}, "MODEL_INVALID", "rope_scaling.factor"},
      {{{"factor", 2}}, "MODEL_INVALID", "rope_scaling.rope_type"},
      {{{"rope_type", "linear"}, {"factor", 0.5}}, "MODEL_INVALID", "rope_scaling.factor"},
      {{{"rope_type", "linear"}, {"factor", 2}, {"fancy", 1}}, "MODEL_UNSUPPORTED", "rope_scaling.fancy"},
      {{{"rope_type", "llama3"}, {"factor", 2}, {"low_freq_factor", 1}, {"high_freq_factor", 4}},
       "MODEL_INVALID",
       "rope_scaling.original_max_position_embeddings"},
      {{{"rope_type", "linear"}, {"factor", 2}, {"mscale_all_dim", 1}},
       "MODEL_UNSUPPORTED",
       "rope_scaling.mscale_all_dim"},
      {{{"rope_type", "yarn"}, {"factor", 2}, {"mscale_all_dim", 1}},
       "MODEL_UNSUPPORTED",
       "rope_scaling.mscale"},
      {json::array({1}), "MODEL_INVALID", "rope_scaling"},
  };
  for (const auto& [scaling, reason, field] : cases) {
    json config = LlamaJson();
    config["rope_scaling"] = scaling;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(reason)) << scaling;
    EXPECT_EQ(GetErrorInfo(spec.status()).metadata["field"], field);
  }
}

TEST(ModelSpecTest, ContradictingThetasAreRefused) {
  json config = LlamaJson();
  config["rope_theta"] = 1e4;
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_INVALID"));
}

TEST(ModelSpecTest, TheNumberOfExpertsHasTwoNames) {
  nlohmann::json config = nlohmann::json::parse(ReadTestFile("goldens/qwen3_moe/config.json"));
  config["num_local_experts"] = config["num_experts"];
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, 8);
  config["num_experts"] = 4;
  EXPECT_THAT(ParseModelConfig(config.dump()).status(), HasReason("MODEL_INVALID"));
  config.erase("num_experts");
  EXPECT_EQ(ParseOrDie(config.dump()).moe.experts, 8);
}

TEST(ModelSpecTest, GarbageIsNoConfig) {
  for (const char* text : {"", "[]", "{", "null", "{\"model_type\": \"llama\"", "\xff\xfe"}) {
    EXPECT_THAT(ParseModelConfig(text), HasReason("MODEL_INVALID")) << text;
  }
}

TEST(ModelSpecTest, FamiliesAreSorted) {
  const std::vector<std::string> families = SupportedFamilies();
  EXPECT_TRUE(std::is_sorted(families.begin(), families.end()));
  EXPECT_THAT(families,
              ::testing::IsSupersetOf({"deepseek_v3", "glm4_moe", "llama", "mixtral", "olmoe", "qwen3_moe"}));
}

}  // namespace
}  // namespace quantmoe
