#include <cmath>

#include <nlohmann/json.hpp>

#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "tests/plan/model/config_samples.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;

TEST(FamilyTraitsTest, FamilyTraitsOfTheGoldens) {
  const ModelSpec mixtral = ParseOrDie(ReadTestdata("goldens/mixtral/config.json"));
  EXPECT_TRUE(mixtral.moe.renormalize);
  EXPECT_EQ(mixtral.rope.theta, 1e6);
  EXPECT_EQ(mixtral.layers[0].window, 0);
  const ModelSpec qwen2 = ParseOrDie(ReadTestdata("goldens/qwen2_moe/config.json"));
  EXPECT_FALSE(qwen2.layers[1].moe);
  EXPECT_EQ(qwen2.layers[1].dense_width, 96);
  EXPECT_EQ(qwen2.layers[3].window, 0) << "use_sliding_window is false";
  const ModelSpec qwen3 = ParseOrDie(ReadTestdata("goldens/qwen3_moe/config.json"));
  EXPECT_EQ(qwen3.attention.head_dim, 32);
  EXPECT_EQ(qwen3.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_TRUE(qwen3.moe.renormalize);
  EXPECT_EQ(qwen3.moe.shared, SharedKind::kNone);
  EXPECT_TRUE(ParseOrDie(ReadTestdata("goldens/llama_tied/config.json")).tied_embeddings);
}

TEST(FamilyTraitsTest, TraitsOfDeepSeekAndItsKin) {
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

// Published under one name with the attention of another.
TEST(FamilyTraitsTest, ARankForKeysAndValuesDecidesForLatentAttention) {
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

TEST(FamilyTraitsTest, TraitsOfGptOss) {
  const std::string text = ReadTestdata("goldens/gpt_oss/config.json");
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

TEST(FamilyTraitsTest, TraitsOfLlama4) {
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

TEST(FamilyTraitsTest, Llama4InOtherSpellings) {
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

TEST(FamilyTraitsTest, TraitsOfErnie) {
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

TEST(FamilyTraitsTest, TraitsOfDots1) {
  json config = GoldenJson("dots1");
  const ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_EQ(spec.moe.router, RouterKind::kNoAuxTc);
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(spec.layers[1].window, 0);
  EXPECT_EQ(spec.layers[2].window, 16);
  config.erase("max_window_layers");
  EXPECT_EQ(ParseOrDie(config.dump()).layers[2].window, 0) << "from layer 62 on";
}

TEST(FamilyTraitsTest, TraitsOfMiniMaxM2) {
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

TEST(FamilyTraitsTest, TraitsOfKimiK25) {
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

TEST(FamilyTraitsTest, TraitsOfHunyuan) {
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

TEST(FamilyTraitsTest, OptionsThatOneFamilyLacksAreRefusedThere) {
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

TEST(FamilyTraitsTest, TraitsOfPhimoe) {
  json config = json::parse(ReadTestdata("goldens/phimoe/config.json"));
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

TEST(FamilyTraitsTest, TraitsOfGranite) {
  const ModelSpec spec = ParseOrDie(ReadTestdata("goldens/granitemoe/config.json"));
  EXPECT_EQ(spec.embedding_multiplier, 3);
  EXPECT_EQ(spec.attention.scale, 0.15);
  EXPECT_EQ(spec.residual_multiplier, 0.4);
  EXPECT_EQ(spec.logits_divisor, 2);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.moe.router, RouterKind::kTopKSoftmax);
}

TEST(FamilyTraitsTest, AbsentKeysHaveTheDefaultsOfTheFamily) {
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

}  // namespace
}  // namespace quantmoe
