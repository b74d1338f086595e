#include "plan/model/rope_config.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quantmoe {
namespace {

// The last two place the positions of images; those of text are equal in all their sections.
constexpr std::array<absl::string_view, 21> kKnownKeys = {"rope_type",
                                                          "type",
                                                          "rope_theta",
                                                          "factor",
                                                          "original_max_position_embeddings",
                                                          "low_freq_factor",
                                                          "high_freq_factor",
                                                          "beta_fast",
                                                          "beta_slow",
                                                          "mscale",
                                                          "mscale_all_dim",
                                                          "attention_factor",
                                                          "truncate",
                                                          "short_factor",
                                                          "long_factor",
                                                          "short_mscale",
                                                          "long_mscale",
                                                          "finetuned",  // a note, no arithmetic
                                                          "partial_rotary_factor",
                                                          "mrope_section",
                                                          "mrope_interleaved"};

// YaRN's m(s, k), arXiv 2309.00071 eq. 22 with DeepSeek's factor k.
double YarnScale(double factor, double k) { return factor <= 1 ? 1.0 : 0.1 * k * std::log(factor) + 1.0; }

// Keys of other readers that change nothing at this value, which is the one that they are written with.
bool IsNeutral(const std::string& key, const nlohmann::json& value) {
  return (key == "extrapolation_factor" || key == "attn_factor") && value.is_number() &&
         value.get<double>() == 1;
}

void CheckKeys(ConfigReader& config, const std::string& object, bool alpha) {
  const nlohmann::json& value = config.At(object);
  if (value.is_null()) return;
  if (!value.is_object()) return config.Invalid(object, "must be an object");
  for (const auto& [key, item] : value.items()) {
    bool known = item.is_null() || (alpha && key == "alpha") || IsNeutral(key, item);
    for (absl::string_view candidate : kKnownKeys) known = known || candidate == key;
    if (!known) config.Unsupported(absl::StrCat(object, ".", key), "is not implemented");
  }
}

// transformers 5 takes the older object when there are both.
void CheckAgreement(ConfigReader& config) {
  if (!config.HasMembers("rope_parameters") || !config.HasMembers("rope_scaling")) return;
  const nlohmann::json& parameters = config.At("rope_parameters");
  for (const auto& [key, item] : config.At("rope_scaling").items()) {
    if (parameters.contains(key) && parameters[key] == item) continue;
    config.Invalid(absl::StrCat("rope_scaling.", key), "is not what rope_parameters says");
  }
}

double ReadTheta(ConfigReader& config, double default_theta) {
  const double outer = config.NumberOr("rope_theta", default_theta);
  const double inner = config.NumberOr("rope_parameters.rope_theta", outer);
  if (config.Has("rope_theta") && inner != outer) {
    config.Invalid("rope_theta", "contradicts rope_parameters.rope_theta");
  }
  // A base below 1 turns dimensions ever faster, beyond what float32 holds.
  if (inner < 1) {
    config.Invalid(config.Has("rope_theta") ? "rope_theta" : "rope_parameters.rope_theta", "is below 1");
  }
  return inner;
}

void ReadYarn(ConfigReader& config, const std::string& object, RopeSpec& rope) {
  const auto key = [&object](absl::string_view name) { return absl::StrCat(object, ".", name); };
  rope.beta_fast = config.NumberOr(key("beta_fast"), 32);
  rope.beta_slow = config.NumberOr(key("beta_slow"), 1);
  rope.truncate = config.BoolOr(key("truncate"), true);
  const double mscale = config.NumberOr(key("mscale"), 0, -1);
  const double mscale_all = config.NumberOr(key("mscale_all_dim"), 0, -1);
  if (mscale_all == 0 ? mscale != 0 && mscale != 1 : mscale == 0) {
    config.Unsupported(key("mscale"), "without mscale_all_dim, or the reverse, has no agreed meaning");
  }
  if (mscale_all != 0) rope.softmax_factor = std::pow(YarnScale(rope.factor, mscale_all), 2);
  const double implied = mscale != 0 && mscale_all != 0
                             ? YarnScale(rope.factor, mscale) / YarnScale(rope.factor, mscale_all)
                             : YarnScale(rope.factor, 1);
  rope.attention_factor = config.NumberOr(key("attention_factor"), implied);
  if (rope.beta_fast < rope.beta_slow) config.Invalid(key("beta_fast"), "is below beta_slow");
}

void ReadLlama3(ConfigReader& config, const std::string& object, RopeSpec& rope) {
  const auto key = [&object](absl::string_view name) { return absl::StrCat(object, ".", name); };
  rope.low_freq_factor = config.Number(key("low_freq_factor"));
  rope.high_freq_factor = config.Number(key("high_freq_factor"));
  rope.original_max_position = static_cast<double>(config.Int(key("original_max_position_embeddings")));
  if (rope.high_freq_factor < rope.low_freq_factor) {
    config.Invalid(key("high_freq_factor"), "is below low_freq_factor");
  }
}

// `original_max_position_embeddings` may stand beside the object. Phi-3.5-MoE names the factors of cos and
// sin.
void ReadLongRope(ConfigReader& config, const std::string& object, int64_t max_position, RopeSpec& rope) {
  const auto key = [&object](absl::string_view name) { return absl::StrCat(object, ".", name); };
  constexpr absl::string_view kOriginal = "original_max_position_embeddings";
  rope.scaling = RopeScaling::kLongRope;
  rope.original_max_position = static_cast<double>(config.Has(key(kOriginal)) ? config.Int(key(kOriginal), 2)
                                                                              : config.Int(kOriginal, 2));
  rope.factor =
      config.NumberOr(key("factor"), static_cast<double>(max_position) / rope.original_max_position);
  const double implied =
      rope.factor <= 1 ? 1 : std::sqrt(1 + std::log(rope.factor) / std::log(rope.original_max_position));
  const double both = config.NumberOr(key("attention_factor"), implied);
  rope.attention_factor = config.NumberOr(key("short_mscale"), both);
  rope.long_attention_factor = config.NumberOr(key("long_mscale"), both);
  rope.short_factor = config.Numbers(key("short_factor"));
  rope.long_factor = config.Numbers(key("long_factor"));
  for (const auto& [name, factors] :
       {std::pair("short_factor", rope.short_factor), std::pair("long_factor", rope.long_factor)}) {
    if (static_cast<int64_t>(factors.size()) == rope.dims / 2) continue;
    config.Invalid(key(name),
                   absl::StrCat("has ", factors.size(), " numbers for ", rope.dims, " rotary dimensions"));
  }
}

void ReadScaling(ConfigReader& config, const std::string& object, int64_t max_position, RopeSpec& rope) {
  const auto key = [&object](absl::string_view name) { return absl::StrCat(object, ".", name); };
  const std::string type_key = config.Has(key("rope_type")) ? key("rope_type") : key("type");
  if (object == "rope_scaling" && !config.Has(type_key))
    return config.Invalid(key("rope_type"), "is missing");
  const std::string type = config.TextOr(type_key, "default");
  if (type == "default" || type == "mrope") return;
  if (type == "linear")
    rope.scaling = RopeScaling::kLinear;
  else if (type == "llama3")
    rope.scaling = RopeScaling::kLlama3;
  else if (type == "yarn")
    rope.scaling = RopeScaling::kYarn;
  else if (type == "longrope" || type == "su")
    return ReadLongRope(config, object, max_position, rope);
  else
    return config.Unsupported(type_key,
                              absl::StrCat("names the rope type \"", type.substr(0, 40),
                                           "\"; supported are default, linear, llama3, longrope and yarn"));
  rope.factor = config.Number(key("factor"), 0, 1e6);
  if (rope.factor < 1) config.Invalid(key("factor"), "is below 1");
  rope.original_max_position = static_cast<double>(
      config.IntOr(key("original_max_position_embeddings"), max_position, 1, int64_t{1} << 40));
  if (rope.scaling != RopeScaling::kYarn && config.NumberOr(key("mscale_all_dim"), 0, -1) != 0) {
    config.Unsupported(key("mscale_all_dim"), "belongs to the rope type yarn");
  }
  if (rope.scaling == RopeScaling::kYarn) ReadYarn(config, object, rope);
  if (rope.scaling == RopeScaling::kLlama3) ReadLlama3(config, object, rope);
}

// NTK-aware scaling by a fixed `alpha` changes the base alone.
void ReadAlpha(ConfigReader& config, const std::string& object, RopeSpec& rope) {
  const auto key = [&object](absl::string_view name) { return absl::StrCat(object, ".", name); };
  const std::string type = config.TextOr(config.Has(key("rope_type")) ? key("rope_type") : key("type"), "");
  if (type != "dynamic") return config.Unsupported(key("alpha"), "belongs to the rope type dynamic");
  if (rope.dims <= 2) return config.Unsupported(key("alpha"), "needs more than two rotary dimensions");
  const double dims = static_cast<double>(rope.dims);
  rope.theta *= std::pow(config.Number(key("alpha"), 0, 1e9), dims / (dims - 2));
  if (rope.theta < 1) config.Invalid(key("alpha"), "makes the base of the rotary angles less than 1");
}

int64_t ReadRotaryDims(ConfigReader& config, const std::string& object, int64_t head_dim, double partial) {
  const bool fixed = partial == 0;
  if (fixed) partial = 1;
  if (config.Has("rotary_dim")) {
    partial = static_cast<double>(config.Int("rotary_dim", 2, head_dim)) / static_cast<double>(head_dim);
    if (fixed && partial != 1) config.Unsupported("rotary_dim", "is less than a head");
  }
  for (const std::string& key : {object + ".partial_rotary_factor", std::string("partial_rotary_factor")}) {
    if (!config.Has(key)) continue;
    partial = config.Number(key, 0, 1);
    if (fixed && partial != 1) config.Unsupported(key, "other than 1 is not implemented for this family");
  }
  const auto dims = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  if (dims < 2 || dims % 2 != 0) {
    config.Invalid("partial_rotary_factor",
                   absl::StrCat("makes ", dims, " of ", head_dim, " dimensions rotary"));
  }
  return dims;
}

}  // namespace

RopeSpec ReadRope(ConfigReader& config, int64_t head_dim, const RopeDefaults& defaults,
                  int64_t max_position) {
  RopeSpec rope;
  rope.original_max_position = static_cast<double>(max_position);
  const std::string object = config.HasMembers("rope_parameters") ? "rope_parameters" : "rope_scaling";
  CheckKeys(config, object, defaults.alpha);
  CheckAgreement(config);
  rope.theta = ReadTheta(config, defaults.theta);
  rope.dims = ReadRotaryDims(config, object, head_dim, defaults.partial);
  if (defaults.alpha && config.Has(absl::StrCat(object, ".alpha"))) {
    ReadAlpha(config, object, rope);
  } else if (config.HasMembers(object)) {
    ReadScaling(config, object, max_position, rope);
  }
  return rope;
}

}  // namespace quantmoe
