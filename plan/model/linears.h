// The linears that are quantized, where their tensors are, and the parts they are solved in.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"

namespace quantmoe {

// In the order of a layer's arithmetic; ties everywhere break by (layer, expert, kind).
enum class LinearKind {
  kQuery,
  kKey,
  kValue,
  kQueryA,     // MLA: hidden -> q_lora
  kQueryB,     // MLA: q_lora -> heads
  kKeyValueA,  // MLA: hidden -> kv_lora and the shared rotary key
  kKeyValueB,  // MLA: kv_lora -> heads
  kOutput,
  kDenseGate,
  kDenseUp,
  kDenseDown,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kExpertGate,
  kExpertUp,
  kExpertDown,
};
absl::string_view LinearKindName(LinearKind kind);  // "query", ..., "expert_down"
// INVALID_ARGUMENT for any other name.
absl::StatusOr<LinearKind> ParseLinearKind(absl::string_view name);
bool IsAttention(LinearKind kind);
bool IsShared(LinearKind kind);  // shared expert or dense MLP
bool IsExpert(LinearKind kind);
// Linears of an attention block with the same answer see the same input.
LinearKind AttentionInputOf(LinearKind kind);

struct Linear {
  std::string name;  // module name in the checkpoint: tensor `name`.weight is [out, in]
  int layer = 0;
  LinearKind kind = LinearKind::kQuery;
  int expert = -1;  // -1 unless kind is an expert's
  int64_t out = 0;
  int64_t in = 0;
  bool bias = false;

  int64_t weights() const { return out * in; }
};

enum class PartKind { kAttention, kDense, kShared, kExperts };
absl::string_view PartKindName(PartKind kind);

// Linears of one layer that are solved by one task. The cut depends on the model only, never on the workers.
struct Part {
  int layer = 0;
  int index = 0;  // within the layer
  PartKind kind = PartKind::kAttention;
  int first_expert = 0;
  int num_experts = 0;
  std::vector<Linear> linears;
};

// Parts of one layer: attention, then the dense or shared MLP, then runs of experts. Runs have equal length,
// at most 16 experts and at most 64 million weights (one expert at least).
std::vector<Part> CutLayer(const ModelSpec& spec, int layer);
// Parts of all layers, in order.
std::vector<Part> CutParts(const ModelSpec& spec);

// All linears of all parts, in order.
std::vector<Linear> ListLinears(const ModelSpec& spec);

// Names of tensors that are not quantized. `layer` counts from 0; an empty result means the family has none.
struct TensorNames {
  static std::string Embedding(const ModelSpec& spec);
  static std::string FinalNorm(const ModelSpec& spec);
  static std::string Head(const ModelSpec& spec);  // the embedding when tied
  static std::string UntiedHead(const ModelSpec& spec);
  static std::string HeadBias(const ModelSpec& spec);
  static std::string InputNorm(const ModelSpec& spec, int layer);
  static std::string PostAttentionNorm(const ModelSpec& spec, int layer);
  // Of queries and keys; in MLA of the low-rank query and of the low-rank keys and values.
  static std::string QueryNorm(const ModelSpec& spec, int layer);
  static std::string KeyNorm(const ModelSpec& spec, int layer);
  static std::string Router(const ModelSpec& spec, int layer);
  static std::string CorrectionBias(const ModelSpec& spec, int layer);  // of the router's choice
  static std::string SharedGate(const ModelSpec& spec, int layer);      // sigmoid gate of the shared expert
  static std::string RouterBias(const ModelSpec& spec, int layer);
  // A logit per head that takes part in the softmax.
  static std::string Sinks(const ModelSpec& spec, int layer);
};
// "model.layers.N.", or what the family writes for it.
std::string LayerPrefix(const ModelSpec& spec, int layer);
// The name of the bias beside a weight.
std::string BiasOf(absl::string_view weight_name);
// The layer in a tensor's name, of the text model or of another one; -1 when it belongs to none.
int LayerOfTensor(absl::string_view name);
// False for the tensors of a vision tower and the like, which are copied as they are.
bool IsOfTextModel(const ModelSpec& spec, absl::string_view name);
// Layers past the last one predict further tokens (MTP); they are not run, and copied as they are.
bool IsOfExtraLayer(const ModelSpec& spec, absl::string_view name);
// The module that holds a tensor of either: "model.layers.61." or "vision_model."; empty for all others.
std::string ModuleNotRun(const ModelSpec& spec, absl::string_view name);
// The module name of a linear.
std::string LinearName(const ModelSpec& spec, int layer, LinearKind kind, int expert);

}  // namespace quantmoe
