// How families spell their modules, where it is not as NameSpec has it, and what GPTQModel calls them, where
// that is not as published.
#pragma once

#include "plan/model/family.h"

namespace quantmoe {

inline constexpr NameSpec kQwenNames = {.shared = "mlp.shared_expert"};

inline constexpr NameSpec kMixtralNames = {.router = "block_sparse_moe.gate",
                                           .correction_bias = "block_sparse_moe.e_score_correction_bias",
                                           .experts = "block_sparse_moe.experts",
                                           .expert = {"w1", "w3", "w2"}};

inline constexpr NameSpec kGraniteNames = {.router = "block_sparse_moe.router.layer",
                                           .experts = "block_sparse_moe.experts"};

inline constexpr NameSpec kGptOssNames = {.router = "mlp.router"};

inline constexpr NameSpec kErnieNames = {.correction_bias = "mlp.moe_statics.e_score_correction_bias"};

inline constexpr NameSpec kExaoneNames = {.correction_bias = "mlp.e_score_correction_bias"};

inline constexpr NameSpec kHyV3Names = {
    .router = "mlp.router.gate", .correction_bias = "mlp.expert_bias", .shared = "mlp.shared_mlp"};

inline constexpr NameSpec kHunyuanNames = {.query_norm = "self_attn.query_layernorm",
                                           .key_norm = "self_attn.key_layernorm",
                                           .router = "mlp.gate.wg",
                                           .shared = "mlp.shared_mlp"};

inline constexpr NameSpec kLlama4TextNames = {.dense = "feed_forward",
                                              .router = "feed_forward.router",
                                              .experts = "feed_forward.experts",
                                              .shared = "feed_forward.shared_expert"};

// The language model of a multimodal checkpoint.
constexpr NameSpec Below(absl::string_view base, absl::string_view head, NameSpec names) {
  names.base = base;
  names.head = head;
  return names;
}
inline constexpr NameSpec kLlama4Names =
    Below("language_model.model.", "language_model.lm_head", kLlama4TextNames);
inline constexpr NameSpec kKimiVisionNames = Below("language_model.model.", "language_model.lm_head", {});
inline constexpr NameSpec kVisionNames = Below("model.language_model.", "lm_head", {});

// MiniMax-M2 has none: its definition in GPTQModel has the published names, of the model's own code.
inline constexpr NamePart kHyV3InGptqModel[] = {{".mlp.shared_mlp.", ".mlp.shared_experts."},
                                                {".mlp.router.gate.", ".mlp.gate."},
                                                {".mlp.expert_bias", ".mlp.e_score_correction_bias"}};

inline constexpr NamePart kMixtralInGptqModel[] = {
    {".block_sparse_moe.", ".mlp."}, {".w1", ".gate_proj"}, {".w3", ".up_proj"}, {".w2", ".down_proj"}};

inline constexpr NamePart kPhimoeInGptqModel[] = {{".block_sparse_moe.gate.", ".mlp.router."},
                                                  {".block_sparse_moe.", ".mlp."},
                                                  {".w1", ".gate_proj"},
                                                  {".w3", ".up_proj"},
                                                  {".w2", ".down_proj"}};

}  // namespace quantmoe
