#include "plan/model/model_config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "plan/model/config_reader.h"
#include "plan/model/family_names.h"
#include "plan/model/family_readers.h"
#include "plan/model/rope_config.h"
#include "plan/model/source_quantization.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kDefaultWindow = 4096;      // of the classes that have one when the key is absent
constexpr int64_t kQwenMaxWindowLayers = 28;  // likewise

// What differs between the families before their own function runs.
struct Family {
  absl::string_view model_type;
  absl::string_view architectures;  // that the type goes with; the first one when config.json has none
  double norm_eps;                  // when rms_norm_eps is absent
  double rope_theta;                // when there is none
  void (*read)(ConfigReader& config, ModelSpec& spec);
  absl::string_view options = "";  // foreign to others, but read here
  NameSpec names = {};
  double partial_rotary = 0;  // of a head, when there is none; 0: all of it, and no other is possible
  // Model types of the object `text_config` in which a multimodal config keeps its language model; empty: the
  // file is all about it.
  absl::string_view text_types = "";
};

bool Lists(absl::string_view words, absl::string_view word) {
  for (absl::string_view listed : absl::StrSplit(words, ' ')) {
    if (listed == word) return true;
  }
  return false;
}

// Options that would change the arithmetic: they must be absent or have the neutral value, except in families
// that read them.
struct ForeignOption {
  absl::string_view key;
  double neutral;  // false and 0 are the same here
};
constexpr ForeignOption kForeignOptions[] = {{"compression_config", 0},
                                             {"compression_ratio", 1},
                                             {"attn_logit_softcapping", 0},
                                             {"final_logit_softcapping", 0},
                                             {"logit_scale", 1},
                                             {"logits_scaling", 1},
                                             {"attention_multiplier", 0},
                                             {"embedding_multiplier", 1},
                                             {"residual_multiplier", 1},
                                             {"query_pre_attn_scalar", 0},
                                             {"clip_qkv", 0},
                                             {"kv_lora_rank", 0},
                                             {"q_lora_rank", 0},
                                             {"n_shared_experts", 0},
                                             {"num_shared_experts", 0},
                                             {"first_k_dense_replace", 0},
                                             {"use_qk_norm", 0},
                                             {"attention_chunk_size", 0},
                                             {"no_rope_layers", 0},
                                             {"is_encoder_decoder", 0},
                                             {"alibi", 0},
                                             {"add_cross_attention", 0},
                                             {"mlp_bias", 0},
                                             {"text_config", 0},
                                             {"vision_config", 0},
                                             {"ssm_cfg", 0},
                                             {"linear_attn_config", 0},
                                             {"use_mup", 0},
                                             {"mup_base_width", 0},
                                             {"router_bias", 0},
                                             {"scoring_func", 0},
                                             {"routed_scaling_factor", 1},
                                             {"n_group", 1},
                                             {"topk_method", 0},
                                             {"moe_layer_freq", 1},
                                             {"index_topk", 0},
                                             {"lm_head_bias", 0},
                                             {"swiglu_limit", 0}};

void RefuseForeignOptions(ConfigReader& config, const Family& family) {
  for (const ForeignOption& option : kForeignOptions) {
    const nlohmann::json& value = config.At(option.key);
    if (value.is_null() || Lists(family.options, option.key)) continue;
    const bool neutral = (value.is_boolean() && value.get<bool>() == (option.neutral != 0)) ||
                         (value.is_number() && value.get<double>() == option.neutral) ||
                         (value.is_structured() && value.empty());
    if (!neutral) {
      config.Unsupported(option.key,
                         "would change the arithmetic and is not implemented for this model_type");
    }
  }
  const std::string act = config.TextOr("hidden_act", "silu");
  if (act != "silu") {
    config.Unsupported("hidden_act", absl::StrCat("is \"", act.substr(0, 40), "\"; only silu is supported"));
  }
}

void ReadArchitecture(ConfigReader& config, const Family& family, ModelSpec& spec) {
  const std::vector<std::string> names = config.Texts("architectures");
  const std::vector<std::string> known = absl::StrSplit(family.architectures, ' ');
  for (const std::string& name : names) {
    if (Lists(family.architectures, name)) continue;
    config.Unsupported("architectures",
                       absl::StrCat("has ", name.substr(0, 80), "; with the model_type ", family.model_type,
                                    " only ", absl::StrJoin(known, " or "), " is supported"));
  }
  spec.architecture = names.empty() ? known.front() : names.front();
}

void ReadDtype(ConfigReader& config, ModelSpec& spec) {
  const absl::string_view key = config.Has("dtype") ? "dtype" : "torch_dtype";
  spec.dtype = config.TextOr(key, "bfloat16");
  if (spec.dtype != "float32" && spec.dtype != "float16" && spec.dtype != "bfloat16") {
    config.Invalid(key,
                   absl::StrCat("is \"", spec.dtype.substr(0, 40), "\", not float32, float16 or bfloat16"));
  }
}

// Multi-head latent attention: queries, keys and values through low ranks, part of each head rotated.
void ReadLatentAttention(ConfigReader& config, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.mla = true;
  attention.heads = attention.kv_heads = config.Int("num_attention_heads", 1, 1 << 16);
  attention.q_lora = config.IntOr("q_lora_rank", 0);
  attention.kv_lora = config.Int("kv_lora_rank");
  attention.nope_dim = config.Int("qk_nope_head_dim", 1, 1 << 14);
  attention.rope_dim = config.Int("qk_rope_head_dim", 2, 1 << 14);
  if (attention.rope_dim % 2 != 0) config.Invalid("qk_rope_head_dim", "must be even for rotary embeddings");
  attention.head_dim = attention.nope_dim + attention.rope_dim;
  attention.value_dim = config.Int("v_head_dim", 1, 1 << 14);
  attention.bias_qkv = attention.bias_o = config.BoolOr("attention_bias", false);
  attention.qk_norm_eps = 1e-6;  // of the class, whatever rms_norm_eps says
}

// Heads of grouped-query attention. Biases and norms are the family's.
void ReadAttention(ConfigReader& config, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.heads = config.Int("num_attention_heads", 1, 1 << 16);
  attention.kv_heads = config.IntOr("num_key_value_heads", attention.heads, 1, 1 << 16);
  if (attention.heads % attention.kv_heads != 0) {
    config.Invalid("num_key_value_heads", absl::StrCat("is ", attention.kv_heads, " and does not divide ",
                                                       attention.heads, " heads"));
  }
  if (!config.Has("head_dim") && spec.hidden % attention.heads != 0) {
    config.Invalid("num_attention_heads",
                   absl::StrCat("is ", attention.heads, " and does not divide hidden_size ", spec.hidden));
  }
  attention.head_dim = config.IntOr("head_dim", spec.hidden / attention.heads, 2, 1 << 14);
  if (attention.head_dim % 2 != 0) config.Invalid("head_dim", "must be even for rotary embeddings");
  attention.value_dim = attention.head_dim;
  attention.qk_norm_eps = spec.norm_eps;
}

// Heads and rotary embedding. A rank for keys and values means MLA, whatever the model_type says.
void ReadAttentionAndRope(ConfigReader& config, const Family& family, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  const bool latent = config.Has("kv_lora_rank") && Lists(family.options, "kv_lora_rank");
  if (latent) {
    ReadLatentAttention(config, spec);
  } else {
    ReadAttention(config, spec);
  }
  spec.rope =
      ReadRope(config, latent ? attention.rope_dim : attention.head_dim,
               {family.rope_theta, family.partial_rotary, Lists(family.options, "alpha")}, spec.max_position);
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
  if (!latent) return;
  spec.rope.interleaved = config.BoolOr("rope_interleave", true);
  attention.scale *= spec.rope.softmax_factor;
}

void ReadCommon(ConfigReader& config, const Family& family, ModelSpec& spec) {
  spec.model_type = std::string(family.model_type);
  spec.names = family.names;
  ReadArchitecture(config, family, spec);
  ReadDtype(config, spec);
  spec.hidden = config.Int("hidden_size");
  spec.vocab = config.Int("vocab_size");
  spec.max_position = config.Int("max_position_embeddings", 1, int64_t{1} << 32);
  spec.norm_eps = config.NumberOr("rms_norm_eps", family.norm_eps, 0, 1);
  spec.tied_embeddings = config.BoolOr("tie_word_embeddings", false);
  ReadSourceQuantization(config, spec.storage);
  ReadAttentionAndRope(config, family, spec);
  spec.layers.resize(static_cast<size_t>(config.Int("num_hidden_layers", 1, kMaxLayers)));
}

void ReadDenseLayers(ConfigReader& config, ModelSpec& spec) {
  const int64_t width = config.Int("intermediate_size");
  for (LayerSpec& layer : spec.layers) layer.dense_width = width;
}

void ReadLlama(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  ReadDenseLayers(config, spec);
  ReadWindows(config, 0, 0, spec);
}

void ReadMistral(ConfigReader& config, ModelSpec& spec) {
  ReadDenseLayers(config, spec);
  ReadWindows(config, WindowOr(config, kDefaultWindow), 0, spec, LayerTypes::kMustAgree);
}

// Windows from `max_window_layers` on.
void ReadQwenWindows(ConfigReader& config, ModelSpec& spec) {
  const bool use = config.BoolOr("use_sliding_window", false);
  const int64_t first = config.IntOr("max_window_layers", kQwenMaxWindowLayers, 0);
  ReadWindows(config, use ? WindowOr(config, kDefaultWindow) : 0, first, spec);
}

// transformers windows all layers of qwen3_moe, and of qwen2_moe every second one below `max_window_layers`;
// the published code and other runtimes window those from it on.
void ReadQwenMoeWindows(ConfigReader& config, ModelSpec& spec) {
  const bool use = config.BoolOr("use_sliding_window", false);
  const int64_t window = use ? WindowOr(config, kDefaultWindow) : 0;
  if (window > 0 && window < spec.max_position) {
    config.Unsupported("use_sliding_window", "true has no agreed meaning in this family");
  }
  ReadWindows(config, 0, 0, spec);
}

void ReadQwen2(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = true;
  ReadDenseLayers(config, spec);
  ReadQwenWindows(config, spec);
}

void ReadQwen3(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDenseLayers(config, spec);
  ReadQwenWindows(config, spec);
}

void ReadOlmoe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kFullWidth;
  spec.attention.clip_qkv = config.NumberOr("clip_qkv", 0);
  ReadExperts(config, "num_experts", "intermediate_size", spec);
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", false);
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, 0, 0, spec);
}

void ReadMixtral(ConfigReader& config, ModelSpec& spec) {
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.renormalize = true;
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, config.IntOr("sliding_window", 0), 0, spec, LayerTypes::kMustAgree);
}

// Which layers have experts: `mlp_layer_types` of transformers 5, else `mlp_only_layers` and
// `decoder_sparse_step`.
void ReadSparseLayers(ConfigReader& config, ModelSpec& spec) {
  if (ReadMlpLayerTypes(config, spec)) return;
  const std::vector<int64_t> dense = config.Ints("mlp_only_layers");
  const int64_t step = config.IntOr("decoder_sparse_step", 1);
  for (int64_t layer : dense) {
    if (layer < 0 || layer >= spec.num_layers()) {
      return config.Invalid("mlp_only_layers",
                            absl::StrCat("names layer ", layer, " of ", spec.layers.size()));
    }
  }
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    const bool listed = std::find(dense.begin(), dense.end(), l) != dense.end();
    spec.layers[l].moe = !listed && (l + 1) % step == 0;
  }
}

// Qwen's mixture: some layers may be dense, and a model may have no expert at all.
void ReadQwenExperts(ConfigReader& config, ModelSpec& spec) {
  const bool none = config.IntOr(ExpertsKey(config, "num_experts"), 1, 0, kMaxExperts) == 0;
  if (!none) {
    ReadExperts(config, "num_experts", "moe_intermediate_size", spec);
    ReadSparseLayers(config, spec);
  }
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", false);
  for (LayerSpec& layer : spec.layers) {
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size");
  }
}

void ReadQwen2Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = config.BoolOr("qkv_bias", true);
  ReadQwenExperts(config, spec);
  if (spec.moe.experts > 0) {
    spec.moe.shared = SharedKind::kSigmoidGated;
    spec.moe.shared_width = config.Int("shared_expert_intermediate_size");
  }
  ReadQwenMoeWindows(config, spec);
}

void ReadQwen3Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadQwenExperts(config, spec);
  ReadQwenMoeWindows(config, spec);
}

// Every image model of the family renormalizes, whatever its file says.
void ReadQwen3VlMoe(ConfigReader& config, ModelSpec& spec) {
  if (!config.BoolOr("norm_topk_prob", true)) {
    config.Unsupported("norm_topk_prob", "false is unknown for this family");
  }
  ReadQwen3Moe(config, spec);
  spec.moe.renormalize = true;
}

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
    {"gpt_oss", "GptOssForCausalLM", 1e-5, 1.5e5, ReadGptOss, "swiglu_limit", kGptOssNames},
    {"granitemoe", "GraniteMoeForCausalLM", 1e-6, 1e4, ReadGraniteMoe, kGraniteOptions, kGraniteNames},
    {"hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", 1e-5, 1e4, ReadHunyuanMoe, kHunyuanOptions, kHunyuanNames},
    {"hy_v3", "HYV3ForCausalLM", 1e-5, 11158840, ReadHyV3, kHyV3Options, kHyV3Names},
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
    {"mixtral", "MixtralForCausalLM", 1e-5, 1e6, ReadMixtral, "", kMixtralNames},
    {"olmoe", "OlmoeForCausalLM", 1e-5, 1e4, ReadOlmoe, "clip_qkv"},
    {"phimoe", "PhiMoEForCausalLM PhimoeForCausalLM", 1e-5, 1e6, ReadPhimoe, "lm_head_bias", kMixtralNames},
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

const Family* FindFamily(absl::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

constexpr char kTextConfig[] = "text_config";

void CheckTextConfig(ConfigReader& config, const Family& family) {
  if (!config.At(kTextConfig).is_object()) return config.Invalid(kTextConfig, "is missing or not an object");
  const std::string key = absl::StrCat(kTextConfig, ".model_type"), type = config.TextOr(key, "");
  if (!type.empty() && !Lists(family.text_types, type)) {
    config.Unsupported(key, absl::StrCat("is \"", type.substr(0, 80), "\"; with the model_type ",
                                         family.model_type, " it is ", family.text_types));
  }
}

}  // namespace

absl::StatusOr<ModelSpec> ParseModelConfig(absl::string_view config_json) {
  const absl::StatusOr<nlohmann::json> parsed = ParseJson(QuoteNonFinite(config_json), kSmallJson);
  if (!parsed.ok() || !parsed->is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                     absl::StrCat("config.json: not a JSON object",
                                  parsed.ok() ? "" : absl::StrCat(": ", parsed.status().message())),
                     {{"file", "config.json"}});
  }
  const nlohmann::json& config = *parsed;
  ConfigReader file(config);
  if (!file.Has("model_type")) file.Invalid("model_type", "is missing");
  const std::string model_type = file.TextOr("model_type", "");
  RETURN_IF_ERROR(file.status());
  const Family* family = FindFamily(model_type);
  if (family == nullptr) {
    file.Unsupported("model_type", absl::StrCat("is \"", model_type.substr(0, 80), "\"; supported are ",
                                                absl::StrJoin(SupportedFamilies(), ", ")));
    return file.status();
  }
  const bool multimodal = !family->text_types.empty();
  if (multimodal) CheckTextConfig(file, *family);
  RETURN_IF_ERROR(file.status());
  ConfigReader reader(config, multimodal ? kTextConfig : "");
  RefuseForeignOptions(reader, *family);
  ModelSpec spec;
  ReadCommon(reader, *family, spec);
  family->read(reader, spec);
  RETURN_IF_ERROR(reader.status());
  return spec;
}

std::vector<std::string> SupportedFamilies() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.model_type);
  return names;
}

}  // namespace quantmoe
