#include "plan/model/model_config.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "plan/model/config_reader.h"
#include "plan/model/family.h"
#include "plan/model/rope_config.h"
#include "plan/model/source_quantization.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxLayers = 1000;

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
  spec.storage.interleaved_experts = family.interleaved_experts;
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
    const auto add = [](std::string* out, const Family& known) { absl::StrAppend(out, known.model_type); };
    file.Unsupported("model_type", absl::StrCat("is \"", model_type.substr(0, 80), "\"; supported are ",
                                                absl::StrJoin(Families(), ", ", add)));
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

}  // namespace quantmoe
