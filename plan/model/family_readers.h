// What families share when their fields of config.json are read, and the reader of each: the table of
// families (families.cc) names them.
// A reader finds the common fields already in `spec`; problems are reported to `config`.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

#include "plan/model/config_reader.h"
#include "plan/model/model_spec.h"

namespace quantmoe {

inline constexpr int64_t kMaxExperts = 4096;
// Of the classes that have a sliding window when the key is absent.
inline constexpr int64_t kDefaultWindow = 4096;

// Whether the reference implementation of a family reads `layer_types`; where it does not, the key may only
// say what the others say.
enum class LayerTypes { kRead, kMustAgree };
// Sliding windows as `layer_types` says; without it, `window` from layer `first_layer` on.
void ReadWindows(ConfigReader& config, int64_t window, int64_t first_layer, ModelSpec& spec,
                 LayerTypes types = LayerTypes::kRead);

// `sliding_window`: `absent` without the key, 0 when it is null.
int64_t WindowOr(ConfigReader& config, int64_t absent);

// The key of the number of experts: the published one, or one of the names that transformers 5 has for it.
// Two numbers are refused.
absl::string_view ExpertsKey(ConfigReader& config, absl::string_view published);

// Number, width and choice of the routed experts.
void ReadExperts(ConfigReader& config, absl::string_view experts_key, absl::string_view width_key,
                 ModelSpec& spec, absl::string_view top_k_key = "num_experts_per_tok");

// Refuses any other text than `only`, which is also what absence means.
void RequireText(ConfigReader& config, absl::string_view key, absl::string_view only);

// Which layers have experts, from `mlp_layer_types` of transformers 5. False when there is none.
bool ReadMlpLayerTypes(ConfigReader& config, ModelSpec& spec);

// No layer has experts: all have the MLP of `intermediate_size`.
void ReadDenseLayers(ConfigReader& config, ModelSpec& spec);

void ReadLlama(ConfigReader& config, ModelSpec& spec);
void ReadMistral(ConfigReader& config, ModelSpec& spec);
void ReadMixtral(ConfigReader& config, ModelSpec& spec);
void ReadOlmoe(ConfigReader& config, ModelSpec& spec);
void ReadQwen2(ConfigReader& config, ModelSpec& spec);
void ReadQwen2Moe(ConfigReader& config, ModelSpec& spec);
void ReadQwen3(ConfigReader& config, ModelSpec& spec);
void ReadQwen3Moe(ConfigReader& config, ModelSpec& spec);
void ReadQwen3VlMoe(ConfigReader& config, ModelSpec& spec);
// DeepSeek-MoE 16B and kin; with a kv_lora_rank it is an early upload of DeepSeek-V2.
void ReadDeepSeek(ConfigReader& config, ModelSpec& spec);
void ReadDeepSeekV2(ConfigReader& config, ModelSpec& spec);
// DeepSeek-V3, R1, Kimi-K2, Moonlight.
void ReadDeepSeekV3(ConfigReader& config, ModelSpec& spec);
// GLM-4.5 and 4.6: DeepSeek-V3's experts with grouped-query attention.
void ReadGlm4Moe(ConfigReader& config, ModelSpec& spec);
// The language model of GLM-4.5V.
void ReadGlm4vMoe(ConfigReader& config, ModelSpec& spec);
// GLM-4.7-Flash: the same with latent attention.
void ReadGlm4MoeLite(ConfigReader& config, ModelSpec& spec);
void ReadSolarOpen(ConfigReader& config, ModelSpec& spec);
// K-EXAONE: windows with positions, and full attention without.
void ReadExaoneMoe(ConfigReader& config, ModelSpec& spec);
// Hunyuan 3.
void ReadHyV3(ConfigReader& config, ModelSpec& spec);
void ReadDots1(ConfigReader& config, ModelSpec& spec);
void ReadErnieMoe(ConfigReader& config, ModelSpec& spec);
// Hunyuan-A13B.
void ReadHunyuanMoe(ConfigReader& config, ModelSpec& spec);
void ReadMiniMaxM2(ConfigReader& config, ModelSpec& spec);
void ReadGptOss(ConfigReader& config, ModelSpec& spec);
void ReadGraniteMoe(ConfigReader& config, ModelSpec& spec);
void ReadLlama4(ConfigReader& config, ModelSpec& spec);
// Phi-3.5-MoE.
void ReadPhimoe(ConfigReader& config, ModelSpec& spec);

}  // namespace quantmoe
