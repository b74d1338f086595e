// The table of families: a record is all that there is to say about one beside its reader.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"

#include "plan/model/family.h"
#include "plan/model/family_names.h"
#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

constexpr absl::string_view kDeepSeekOptions =
    "kv_lora_rank q_lora_rank n_shared_experts first_k_dense_replace scoring_func topk_method n_group "
    "routed_scaling_factor";
constexpr absl::string_view kGlmOptions =
    "n_shared_experts first_k_dense_replace scoring_func topk_method n_group routed_scaling_factor "
    "use_qk_norm";

constexpr absl::string_view kGraniteOptions =
    "embedding_multiplier residual_multiplier logits_scaling attention_multiplier";
constexpr absl::string_view kExaoneOptions =
    "num_shared_experts first_k_dense_replace scoring_func topk_method n_group routed_scaling_factor";
constexpr absl::string_view kHyV3Options = "num_shared_experts first_k_dense_replace";
constexpr absl::string_view kHunyuanOptions = "alpha use_qk_norm n_group routed_scaling_factor";
constexpr absl::string_view kMiniMaxOptions = "use_qk_norm scoring_func";
constexpr absl::string_view kLlama4Options = "use_qk_norm attention_chunk_size no_rope_layers";

// Sorted by model_type.
constexpr Family kFamilies[] = {
    {"deepseek", "DeepseekForCausalLM DeepseekV2ForCausalLM", 1e-6, 1e4, ReadDeepSeek, kDeepSeekOptions},
    {"deepseek_v2", "DeepseekV2ForCausalLM", 1e-6, 1e4, ReadDeepSeekV2, kDeepSeekOptions},
    {"deepseek_v3", "DeepseekV3ForCausalLM", 1e-6, 1e4, ReadDeepSeekV3, kDeepSeekOptions},
    {"dots1", "Dots1ForCausalLM", 1e-6, 1e4, ReadDots1, kGlmOptions},
    {"ernie4_5_moe", "Ernie4_5_MoeForCausalLM", 1e-5, 5e5, ReadErnieMoe, "", kErnieNames},
    {"exaone_moe", "ExaoneMoeForCausalLM", 1e-5, 1e4, ReadExaoneMoe, kExaoneOptions, kExaoneNames},
    {"glm4_moe", "Glm4MoeForCausalLM", 1e-5, 1e4, ReadGlm4Moe, kGlmOptions, {}, 0.5},
    {"glm4_moe_lite", "Glm4MoeLiteForCausalLM", 1e-5, 1e4, ReadGlm4MoeLite, kDeepSeekOptions},
    {.model_type = "glm4v_moe",
     .architectures = "Glm4vMoeForConditionalGeneration",
     .norm_eps = 1e-5,
     .rope_theta = 1e4,
     .read = ReadGlm4vMoe,
     .options = kGlmOptions,
     .names = kVisionNames,
     .partial_rotary = 0.5,
     .text_types = "glm4v_moe_text"},
    {.model_type = "gpt_oss",
     .architectures = "GptOssForCausalLM",
     .norm_eps = 1e-5,
     .rope_theta = 1.5e5,
     .read = ReadGptOss,
     .options = "swiglu_limit",
     .names = kGptOssNames,
     .interleaved_experts = true},
    {"granitemoe", "GraniteMoeForCausalLM", 1e-6, 1e4, ReadGraniteMoe, kGraniteOptions, kGraniteNames},
    {"hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", 1e-5, 1e4, ReadHunyuanMoe, kHunyuanOptions, kHunyuanNames},
    {.model_type = "hy_v3",
     .architectures = "HYV3ForCausalLM",
     .norm_eps = 1e-5,
     .rope_theta = 11158840,
     .read = ReadHyV3,
     .options = kHyV3Options,
     .names = kHyV3Names,
     .gptqmodel_names = kHyV3InGptqModel},
    {"kimi_k2", "DeepseekV3ForCausalLM", 1e-6, 1e4, ReadDeepSeekV3, kDeepSeekOptions},
    {.model_type = "kimi_k25",
     .architectures = "KimiK25ForConditionalGeneration",
     .norm_eps = 1e-6,
     .rope_theta = 1e4,
     .read = ReadDeepSeekV3,
     .options = kDeepSeekOptions,
     .names = kKimiVisionNames,
     .text_types = "deepseek_v3 kimi_k2"},
    {"llama", "LlamaForCausalLM", 1e-6, 1e4, ReadLlama},
    {.model_type = "llama4",
     .architectures = "Llama4ForConditionalGeneration Llama4ForCausalLM",
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .read = ReadLlama4,
     .options = kLlama4Options,
     .names = kLlama4Names,
     .text_types = "llama4_text"},
    {"llama4_text", "Llama4ForCausalLM", 1e-5, 5e5, ReadLlama4, kLlama4Options, kLlama4TextNames},
    {"minimax", "MiniMaxM2ForCausalLM", 1e-6, 5e6, ReadMiniMaxM2, kMiniMaxOptions, kMixtralNames, 1.0},
    {"minimax_m2", "MiniMaxM2ForCausalLM", 1e-6, 5e6, ReadMiniMaxM2, kMiniMaxOptions, kMixtralNames, 1.0},
    {"mistral", "MistralForCausalLM", 1e-6, 1e4, ReadMistral},
    {.model_type = "mixtral",
     .architectures = "MixtralForCausalLM",
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .read = ReadMixtral,
     .names = kMixtralNames,
     .gptqmodel_names = kMixtralInGptqModel},
    {"olmoe", "OlmoeForCausalLM", 1e-5, 1e4, ReadOlmoe, "clip_qkv"},
    {.model_type = "phimoe",
     .architectures = "PhiMoEForCausalLM PhimoeForCausalLM",
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .read = ReadPhimoe,
     .options = "lm_head_bias",
     .names = kMixtralNames,
     .gptqmodel_names = kPhimoeInGptqModel},
    {"qwen2", "Qwen2ForCausalLM", 1e-6, 1e4, ReadQwen2},
    {"qwen2_moe", "Qwen2MoeForCausalLM", 1e-6, 1e4, ReadQwen2Moe, "", kQwenNames},
    {"qwen3", "Qwen3ForCausalLM", 1e-6, 1e4, ReadQwen3},
    {"qwen3_moe", "Qwen3MoeForCausalLM", 1e-6, 1e4, ReadQwen3Moe, "", kQwenNames},
    {.model_type = "qwen3_vl_moe",
     .architectures = "Qwen3VLMoeForConditionalGeneration",
     .norm_eps = 1e-6,
     .rope_theta = 5e5,
     .read = ReadQwen3VlMoe,
     .names = kVisionNames,
     .text_types = "qwen3_vl_moe_text"},
    {"solar_open", "SolarOpenForCausalLM", 1e-5, 1e6, ReadSolarOpen, kGlmOptions},
};

static_assert(std::is_sorted(std::begin(kFamilies), std::end(kFamilies),
                             [](const Family& a, const Family& b) { return a.model_type < b.model_type; }));
static_assert(std::none_of(std::begin(kFamilies), std::end(kFamilies), [](const Family& family) {
  return family.architectures.empty() || family.norm_eps <= 0 || family.rope_theta <= 0;
}));

}  // namespace

std::span<const Family> Families() { return kFamilies; }

const Family* FindFamily(absl::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

const Family& FamilyOf(const ModelSpec& spec) { return *FindFamily(spec.model_type); }

std::string GptqModelName(const Family& family, absl::string_view name) {
  std::vector<std::pair<absl::string_view, absl::string_view>> parts;
  for (const NamePart& part : family.gptqmodel_names) parts.emplace_back(part.published, part.loaded);
  return absl::StrReplaceAll(name, parts);
}

}  // namespace quantmoe
