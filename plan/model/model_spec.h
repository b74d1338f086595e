// What a model is, resolved once from config.json: nothing downstream looks at model_type again. Pure data,
// no tensor.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn, kLongRope };
// Norms of queries and keys; kUnitAfterRope has no weight, and none in layers without rotary embedding.
enum class QkNorm { kNone, kPerHead, kFullWidth, kPerHeadAfterRope, kUnitAfterRope };
enum class NormKind { kRms, kLayerNorm };
enum class RouterKind {
  kSoftmaxTopK,
  kTopKSoftmax,
  kDeepSeekV2,
  kNoAuxTc,
  kSparseMixer,
  kTopKSigmoid,
  kBiasedSoftmax
};
enum class SharedKind { kNone, kPlain, kSigmoidGated };
enum class Activation { kSilu, kClampedGlu };

struct RopeSpec {
  double theta = 10000.0;
  int64_t dims = 0;  // rotary dimensions of a head
  bool interleaved = false;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position = 0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  bool truncate = true;
  double attention_factor = 1.0;       // multiplies cos and sin
  double long_attention_factor = 1.0;  // the same beyond original_max_position, for kLongRope
  double softmax_factor = 1.0;         // on the logits of MLA: YaRN's m(factor, mscale_all_dim)^2
  std::vector<double> short_factor;    // divide the frequencies of kLongRope
  std::vector<double> long_factor;
};

struct AttentionSpec {
  bool mla = false;  // low-rank keys and values, DeepSeek-V2 (arXiv 2405.04434, section 2.1)
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;   // of q and k; MLA: nope + rope
  int64_t value_dim = 0;  // of v
  int64_t q_lora = 0;     // 0: no low-rank query
  int64_t kv_lora = 0;
  int64_t nope_dim = 0;
  int64_t rope_dim = 0;
  bool bias_qkv = false;  // MLA: of the two projections to the low ranks
  bool bias_o = false;
  bool sinks = false;
  QkNorm qk_norm = QkNorm::kNone;
  double qk_norm_eps = 1e-6;  // MLA: of the norms over the low ranks
  double scale = 0;           // of the logits
  double clip_qkv = 0;        // q, k and v are clamped to +-this; 0: none
  // Queries of layers without rotary embedding are multiplied by 1 + temperature_scale * ln(1 +
  // floor((position + 1) / temperature_floor)), arXiv 2501.19399; floor 0: they are not.
  double temperature_floor = 0;
  double temperature_scale = 0;
};

struct MoeSpec {
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t width = 0;  // inner width of an expert
  RouterKind router = RouterKind::kSoftmaxTopK;
  bool router_in_f32 = false;  // whatever the dtype of the computation
  bool scale_input = false;    // weights are factors on the inputs of experts, not on their outputs
  bool renormalize = false;
  double least_weight_sum = 0;  // kBiasedSoftmax renormalizes with this sum at least
  bool router_bias = false;
  bool correction_bias = false;  // added to the scores for the choice, not for the weights
  int64_t groups = 1;            // experts compete in groups, of which `top_k_groups` are kept
  int64_t top_k_groups = 1;
  double routed_scale = 1.0;
  double jitter = 0;
  SharedKind shared = SharedKind::kNone;
  int64_t shared_width = 0;
  Activation activation = Activation::kSilu;  // of the routed experts
  double activation_limit = 0;                // of kClampedGlu
  bool expert_bias = false;
};

struct LayerSpec {
  bool moe = false;
  int64_t dense_width = 0;  // inner width of the MLP of a layer without experts
  int64_t window = 0;       // sliding window in tokens; 0: full attention
  int64_t chunk = 0;        // attention stays within chunks of so many tokens; 0: full attention
  bool rope = true;         // false: no positions
};

// How weights are stored, where the headers of the checkpoint do not say.
struct StorageSpec {
  bool fp8 = false;            // weights may be FP8, with a factor for each block or for the whole
  int64_t fp8_block_rows = 0;  // 0: there are no blocks
  int64_t fp8_block_columns = 0;
  bool interleaved_experts = false;  // fused gate and up alternate (GPT-OSS); false: halves
};

// How a family spells its modules. The texts are literals.
struct NameSpec {
  absl::string_view base = "model.";  // before the embedding, the layers and the final norm
  absl::string_view head = "lm_head";
  // Below `base`layers.N.
  absl::string_view query_norm = "self_attn.q_norm";
  absl::string_view key_norm = "self_attn.k_norm";
  absl::string_view dense = "mlp";
  absl::string_view router = "mlp.gate";
  absl::string_view correction_bias = "mlp.gate.e_score_correction_bias";  // a tensor, no module
  absl::string_view experts = "mlp.experts";
  std::array<absl::string_view, 3> expert = {"gate_proj", "up_proj", "down_proj"};
  absl::string_view shared = "mlp.shared_experts";
  absl::string_view shared_gate = "mlp.shared_expert_gate";
};

struct ModelSpec {
  std::string model_type;
  std::string architecture;
  int64_t hidden = 0;
  int64_t vocab = 0;
  int64_t max_position = 0;
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  bool norm_multiply_in_f32 = false;  // GPT-OSS multiplies by the weight before casting back
  double embedding_multiplier = 1.0;
  double residual_multiplier = 1.0;
  double logits_divisor = 1.0;
  bool tied_embeddings = false;
  bool head_bias = false;
  std::string dtype = "bfloat16";  // of the checkpoint, as config.json states it
  AttentionSpec attention;
  RopeSpec rope;
  MoeSpec moe;
  StorageSpec storage;
  NameSpec names;
  std::vector<LayerSpec> layers;

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
};

}  // namespace quantmoe
