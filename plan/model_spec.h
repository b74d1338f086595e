// What a model is, resolved once from config.json: nothing downstream looks at model_type again. Pure data,
// no tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn, kLongRope };
enum class QkNorm { kNone, kPerHead, kFullWidth };
enum class NormKind { kRms, kLayerNorm };
enum class RouterKind { kSoftmaxTopK, kTopKSoftmax, kDeepSeekV2, kNoAuxTc, kSparseMixer };
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
};

struct MoeSpec {
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t width = 0;  // inner width of an expert
  RouterKind router = RouterKind::kSoftmaxTopK;
  bool renormalize = false;
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
};

// How weights are stored, where the headers of the checkpoint do not say.
struct StorageSpec {
  int64_t fp8_block_rows = 0;  // of FP8 with a factor for each block; 0: there is none
  int64_t fp8_block_columns = 0;
  bool interleaved_experts = false;  // fused gate and up alternate (GPT-OSS); false: halves
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
  std::vector<LayerSpec> layers;

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
};

// Reads config.json. INVALID_ARGUMENT MODEL_UNSUPPORTED names an unknown model_type, rope type, activation or
// any option that would change the arithmetic and is not implemented; INVALID_ARGUMENT MODEL_INVALID names a
// missing or bad field.
absl::StatusOr<ModelSpec> ParseModelConfig(absl::string_view config_json);

// The model types that ParseModelConfig accepts, sorted.
std::vector<std::string> SupportedFamilies();

}  // namespace quantmoe
