#include "plan/model/linears.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxRunWeights = 64'000'000;
constexpr int64_t kMaxRunExperts = 16;

constexpr std::array<absl::string_view, 17> kKindNames = {
    "query",       "key",         "value",       "query_a",   "query_b",    "key_value_a",
    "key_value_b", "output",      "dense_gate",  "dense_up",  "dense_down", "shared_gate",
    "shared_up",   "shared_down", "expert_gate", "expert_up", "expert_down"};

Linear MakeLinear(const ModelSpec& spec, int layer, LinearKind kind, int expert, int64_t out, int64_t in,
                  bool bias) {
  return {LinearName(spec, layer, kind, expert), layer, kind, expert, out, in, bias};
}

std::vector<Linear> GatedMlp(const ModelSpec& spec, int layer, LinearKind gate, int expert, int64_t width,
                             bool bias) {
  const auto kind = [gate](int i) { return static_cast<LinearKind>(static_cast<int>(gate) + i); };
  return {MakeLinear(spec, layer, kind(0), expert, width, spec.hidden, bias),
          MakeLinear(spec, layer, kind(1), expert, width, spec.hidden, bias),
          MakeLinear(spec, layer, kind(2), expert, spec.hidden, width, bias)};
}

// The unabsorbed form: the low-rank factors stay the matrices that the checkpoint holds.
std::vector<Linear> LatentAttention(const ModelSpec& spec, int layer) {
  const AttentionSpec& a = spec.attention;
  const auto make = [&](LinearKind kind, int64_t out, int64_t in, bool bias) {
    return MakeLinear(spec, layer, kind, -1, out, in, bias);
  };
  std::vector<Linear> linears;
  if (a.q_lora == 0) {
    linears.push_back(make(LinearKind::kQuery, a.heads * a.head_dim, spec.hidden, false));
  } else {
    linears.push_back(make(LinearKind::kQueryA, a.q_lora, spec.hidden, a.bias_qkv));
    linears.push_back(make(LinearKind::kQueryB, a.heads * a.head_dim, a.q_lora, false));
  }
  linears.push_back(make(LinearKind::kKeyValueA, a.kv_lora + a.rope_dim, spec.hidden, a.bias_qkv));
  linears.push_back(make(LinearKind::kKeyValueB, a.heads * (a.nope_dim + a.value_dim), a.kv_lora, false));
  linears.push_back(make(LinearKind::kOutput, spec.hidden, a.heads * a.value_dim, a.bias_o));
  return linears;
}

std::vector<Linear> GroupedAttention(const ModelSpec& spec, int layer) {
  const AttentionSpec& a = spec.attention;
  return {MakeLinear(spec, layer, LinearKind::kQuery, -1, a.heads * a.head_dim, spec.hidden, a.bias_qkv),
          MakeLinear(spec, layer, LinearKind::kKey, -1, a.kv_heads * a.head_dim, spec.hidden, a.bias_qkv),
          MakeLinear(spec, layer, LinearKind::kValue, -1, a.kv_heads * a.value_dim, spec.hidden, a.bias_qkv),
          MakeLinear(spec, layer, LinearKind::kOutput, -1, spec.hidden, a.heads * a.value_dim, a.bias_o)};
}

// The largest divisor of the number of experts that keeps a run small.
int RunLength(const ModelSpec& spec) {
  const int64_t weights = 3 * spec.hidden * spec.moe.width;
  const int64_t most = std::clamp<int64_t>(kMaxRunWeights / weights, 1, kMaxRunExperts);
  int64_t run = std::min(most, spec.moe.experts);
  while (spec.moe.experts % run != 0) --run;
  return static_cast<int>(run);
}

void AppendExpertParts(const ModelSpec& spec, int layer, std::vector<Part>& parts) {
  const int run = RunLength(spec);
  const int first_index = parts.back().index + 1;
  for (int first = 0; first < spec.moe.experts; first += run) {
    Part part{layer, first_index + first / run, PartKind::kExperts, first, run, {}};
    for (int expert = first; expert < first + run; ++expert) {
      for (Linear& linear :
           GatedMlp(spec, layer, LinearKind::kExpertGate, expert, spec.moe.width, spec.moe.expert_bias)) {
        part.linears.push_back(std::move(linear));
      }
    }
    parts.push_back(std::move(part));
  }
}

bool HasQkNormWeights(const ModelSpec& spec) {
  return spec.attention.qk_norm != QkNorm::kNone && spec.attention.qk_norm != QkNorm::kUnitAfterRope;
}

}  // namespace

absl::string_view LinearKindName(LinearKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

absl::StatusOr<LinearKind> ParseLinearKind(absl::string_view name) {
  for (size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<LinearKind>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown kind of linear: ", name));
}

bool IsAttention(LinearKind kind) { return kind <= LinearKind::kOutput; }
bool IsShared(LinearKind kind) { return kind > LinearKind::kOutput && kind <= LinearKind::kSharedDown; }
bool IsExpert(LinearKind kind) { return kind >= LinearKind::kExpertGate; }

LinearKind AttentionInputOf(LinearKind kind) {
  const bool own =
      kind == LinearKind::kQueryB || kind == LinearKind::kKeyValueB || kind == LinearKind::kOutput;
  return own ? kind : LinearKind::kQuery;
}

absl::string_view PartKindName(PartKind kind) {
  constexpr std::array<absl::string_view, 4> kNames = {"attention", "dense", "shared", "experts"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<Part> CutLayer(const ModelSpec& spec, int layer) {
  std::vector<Part> parts = {
      {layer, 0, PartKind::kAttention, 0, 0,
       spec.attention.mla ? LatentAttention(spec, layer) : GroupedAttention(spec, layer)}};
  const LayerSpec& l = spec.layers[layer];
  if (!l.moe) {
    parts.push_back({layer, 1, PartKind::kDense, 0, 0,
                     GatedMlp(spec, layer, LinearKind::kDenseGate, -1, l.dense_width, /*bias=*/false)});
    return parts;
  }
  if (spec.moe.shared != SharedKind::kNone) {
    parts.push_back(
        {layer, 1, PartKind::kShared, 0, 0,
         GatedMlp(spec, layer, LinearKind::kSharedGate, -1, spec.moe.shared_width, /*bias=*/false)});
  }
  AppendExpertParts(spec, layer, parts);
  return parts;
}

std::vector<Part> CutParts(const ModelSpec& spec) {
  std::vector<Part> parts;
  for (int l = 0; l < spec.num_layers(); ++l) {
    for (Part& part : CutLayer(spec, l)) parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<Linear> ListLinears(const ModelSpec& spec) {
  std::vector<Linear> linears;
  for (Part& part : CutParts(spec)) {
    for (Linear& linear : part.linears) linears.push_back(std::move(linear));
  }
  return linears;
}

std::string LinearName(const ModelSpec& spec, int layer, LinearKind kind, int expert) {
  constexpr std::array<absl::string_view, 8> kAttention = {
      "q_proj", "k_proj", "v_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"};
  constexpr std::array<absl::string_view, 3> kMlp = {"gate_proj", "up_proj", "down_proj"};
  const NameSpec& names = spec.names;
  const std::string prefix = LayerPrefix(spec, layer);
  const auto after = [kind](LinearKind first) {
    return static_cast<size_t>(kind) - static_cast<size_t>(first);
  };
  if (IsAttention(kind)) return absl::StrCat(prefix, "self_attn.", kAttention[after(LinearKind::kQuery)]);
  if (IsExpert(kind)) {
    return absl::StrCat(prefix, names.experts, ".", expert, ".",
                        names.expert[after(LinearKind::kExpertGate)]);
  }
  if (kind >= LinearKind::kSharedGate) {
    return absl::StrCat(prefix, names.shared, ".", kMlp[after(LinearKind::kSharedGate)]);
  }
  return absl::StrCat(prefix, names.dense, ".", kMlp[after(LinearKind::kDenseGate)]);
}

std::string LayerPrefix(const ModelSpec& spec, int layer) {
  return absl::StrCat(spec.names.base, "layers.", layer, ".");
}

std::string BiasOf(absl::string_view weight_name) {
  return absl::StrCat(absl::StripSuffix(weight_name, ".weight"), ".bias");
}

std::string TensorNames::Embedding(const ModelSpec& spec) {
  return absl::StrCat(spec.names.base, "embed_tokens.weight");
}
std::string TensorNames::FinalNorm(const ModelSpec& spec) {
  return absl::StrCat(spec.names.base, "norm.weight");
}
std::string TensorNames::Head(const ModelSpec& spec) {
  return spec.tied_embeddings ? Embedding(spec) : UntiedHead(spec);
}
std::string TensorNames::UntiedHead(const ModelSpec& spec) {
  return absl::StrCat(spec.names.head, ".weight");
}
std::string TensorNames::HeadBias(const ModelSpec& spec) {
  return spec.head_bias ? absl::StrCat(spec.names.head, ".bias") : "";
}
std::string TensorNames::InputNorm(const ModelSpec& spec, int layer) {
  return LayerPrefix(spec, layer) + "input_layernorm.weight";
}
std::string TensorNames::PostAttentionNorm(const ModelSpec& spec, int layer) {
  return LayerPrefix(spec, layer) + "post_attention_layernorm.weight";
}
std::string TensorNames::QueryNorm(const ModelSpec& spec, int layer) {
  if (spec.attention.q_lora > 0) return LayerPrefix(spec, layer) + "self_attn.q_a_layernorm.weight";
  return HasQkNormWeights(spec) ? absl::StrCat(LayerPrefix(spec, layer), spec.names.query_norm, ".weight")
                                : "";
}
std::string TensorNames::KeyNorm(const ModelSpec& spec, int layer) {
  if (spec.attention.mla) return LayerPrefix(spec, layer) + "self_attn.kv_a_layernorm.weight";
  return HasQkNormWeights(spec) ? absl::StrCat(LayerPrefix(spec, layer), spec.names.key_norm, ".weight") : "";
}
std::string TensorNames::Router(const ModelSpec& spec, int layer) {
  if (!spec.layers[layer].moe) return "";
  return absl::StrCat(LayerPrefix(spec, layer), spec.names.router, ".weight");
}
std::string TensorNames::CorrectionBias(const ModelSpec& spec, int layer) {
  if (!spec.layers[layer].moe || !spec.moe.correction_bias) return "";
  return absl::StrCat(LayerPrefix(spec, layer), spec.names.correction_bias);
}
std::string TensorNames::RouterBias(const ModelSpec& spec, int layer) {
  if (!spec.layers[layer].moe || !spec.moe.router_bias) return "";
  return BiasOf(Router(spec, layer));
}
std::string TensorNames::Sinks(const ModelSpec& spec, int layer) {
  return spec.attention.sinks ? LayerPrefix(spec, layer) + "self_attn.sinks" : "";
}
std::string TensorNames::SharedGate(const ModelSpec& spec, int layer) {
  if (!spec.layers[layer].moe || spec.moe.shared != SharedKind::kSigmoidGated) return "";
  return absl::StrCat(LayerPrefix(spec, layer), spec.names.shared_gate, ".weight");
}

bool IsOfTextModel(const ModelSpec& spec, absl::string_view name) {
  return absl::StartsWith(name, spec.names.base) || absl::StartsWith(name, spec.names.head);
}

bool IsOfExtraLayer(const ModelSpec& spec, absl::string_view name) {
  return IsOfTextModel(spec, name) && LayerOfTensor(name) >= spec.num_layers();
}

std::string ModuleNotRun(const ModelSpec& spec, absl::string_view name) {
  if (IsOfExtraLayer(spec, name)) return LayerPrefix(spec, LayerOfTensor(name));
  if (IsOfTextModel(spec, name)) return "";
  // Up to the first part of the name that is not the text model's too.
  size_t begin = 0;
  for (size_t dot = name.find('.'); dot != absl::string_view::npos; dot = name.find('.', begin)) {
    const absl::string_view module = name.substr(0, dot + 1);
    if (!absl::StartsWith(spec.names.base, module)) return std::string(module);
    begin = dot + 1;
  }
  return std::string(name);
}

int LayerOfTensor(absl::string_view name) {
  constexpr absl::string_view kMark = ".layers.";
  const size_t mark = name.find(kMark);
  if (mark == absl::string_view::npos) return -1;
  const absl::string_view rest = name.substr(mark + kMark.size());
  int layer = -1;
  return absl::SimpleAtoi(rest.substr(0, rest.find('.')), &layer) ? layer : -1;
}

}  // namespace quantmoe
