#include "plan/model/gptq_source.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "plan/model/config_reader.h"
#include "plan/model/tensor_problems.h"
#include "plan/model/tensor_views.h"

namespace quantmoe {
namespace {

using nlohmann::ordered_json;

constexpr std::array<int, 4> kWidths = {2, 3, 4, 8};
constexpr int64_t kMaxGroup = 1 << 20;
constexpr int64_t kDefaultGroup = 128;  // of the reference when the key is absent

std::string Key(absl::string_view name) { return absl::StrCat("quantization_config.", name); }

// `format` and `checkpoint_format` are two names of one thing; older programs wrote the first only.
std::string ReadFormat(ConfigReader& config) {
  const std::string older = config.TextOr(Key("format"), "gptq");
  const std::string format = config.TextOr(Key("checkpoint_format"), older);
  if (config.Has(Key("format")) && older != format)
    config.Invalid(Key("checkpoint_format"), "is not what `format` says");
  if (format != "gptq" && format != "gptq_v2") {
    config.Unsupported(Key("checkpoint_format"),
                       absl::StrCat("is \"", format.substr(0, 40), "\"; supported are gptq and gptq_v2"));
  }
  return format;
}

// What would change the arithmetic beyond the tensors of the linears.
void RefuseForeignParts(ConfigReader& config) {
  for (const absl::string_view name : {"lm_head", "is_marlin_format", "rotation", "adapter", "adapters"}) {
    const nlohmann::json& value = config.At(Key(name));
    const bool neutral =
        value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
    if (!neutral) config.Unsupported(Key(name), "is set, which is not read");
  }
  const std::string packed = config.TextOr(Key("pack_dtype"), "int32");
  if (packed != "int32")
    config.Unsupported(Key("pack_dtype"),
                       absl::StrCat("is \"", packed.substr(0, 40), "\"; only int32 is read"));
}

bool IsWidth(int64_t width) { return std::find(kWidths.begin(), kWidths.end(), width) != kWidths.end(); }

void CheckRule(ConfigReader& config, const std::string& pattern, const ordered_json& rule) {
  const std::string name = absl::StrCat("dynamic[\"", pattern.substr(0, 80), "\"]");
  if (!rule.is_object()) return config.Invalid(Key(name), "is no object");
  const auto integer = [&](const char* key) {
    if (!rule.contains(key) || rule[key].is_null()) return int64_t{4};
    return rule[key].is_number_integer() ? rule[key].get<int64_t>() : int64_t{0};
  };
  if (!IsWidth(integer("bits"))) config.Invalid(Key(name + ".bits"), "is none of 2, 3, 4 and 8");
  const int64_t group = integer("group_size");
  if (group != -1 && (group < 1 || group > kMaxGroup))
    config.Invalid(Key(name + ".group_size"), "is no group size");
}

absl::StatusOr<DeclaredWidths> ReadWidths(ConfigReader& config, const ordered_json& quantization) {
  ordered_json declared = {{"bits", config.Int(Key("bits"), 1, 64)},
                           {"group_size", config.IntOr(Key("group_size"), kDefaultGroup, -1, kMaxGroup)},
                           {"sym", config.BoolOr(Key("sym"), true)},
                           {"desc_act", false}};
  if (!IsWidth(declared["bits"].get<int64_t>())) config.Invalid(Key("bits"), "is none of 2, 3, 4 and 8");
  if (declared["group_size"] == 0) config.Invalid(Key("group_size"), "is 0");
  const auto rules = quantization.find("dynamic");
  if (rules != quantization.end() && !rules->is_null()) {
    if (!rules->is_object()) config.Invalid(Key("dynamic"), "is no object");
    for (const auto& [pattern, rule] : rules->items()) CheckRule(config, pattern, rule);
    declared["dynamic"] = *rules;
  }
  RETURN_IF_ERROR(config.status());
  absl::StatusOr<DeclaredWidths> widths = DeclaredWidths::FromGptq(declared);
  if (!widths.ok()) config.Invalid(Key("dynamic"), widths.status().message());
  RETURN_IF_ERROR(config.status());
  return widths;
}

bool IsInteger(DType dtype) { return dtype == DType::kI32; }

absl::Status CheckPacked(const GptqForm& form, const GptqSource& source, const Checkpoint& checkpoint,
                         const Linear& linear) {
  const std::string qweight = linear.name + ".qweight";
  if (linear.in % 32 != 0 || linear.out % 32 != 0) {
    return TensorError(checkpoint, qweight,
                       absl::StrCat("is of a linear [", linear.out, ", ", linear.in,
                                    "]; codes are read for multiples of 32"),
                       "MODEL_UNSUPPORTED");
  }
  const absl::Status codes =
      CheckStored(checkpoint, qweight, {linear.in * form.width / 32, linear.out}, IsInteger, "I32");
  if (!codes.ok()) {
    return Annotate(codes, absl::StrCat(form.width, " bits are declared for ", linear.name));
  }
  RETURN_IF_ERROR(CheckStored(checkpoint, linear.name + ".scales", {form.groups, linear.out}, IsFloat,
                              "F32, F16 or BF16"));
  RETURN_IF_ERROR(CheckStored(checkpoint, linear.name + ".qzeros",
                              {form.groups, linear.out * form.width / 32}, IsInteger, "I32"));
  const std::string index = linear.name + ".g_idx";
  if (!source.activation_order && checkpoint.Find(index) == nullptr) return absl::OkStatus();
  return CheckStored(checkpoint, index, {linear.in}, IsInteger, "I32");
}

absl::Status CheckGptqLinear(const GptqSource& source, const ModelSpec& spec, const Checkpoint& checkpoint,
                             const Linear& linear) {
  const std::string weight = linear.name + ".weight", codes = linear.name + ".qweight";
  if (checkpoint.Find(codes) == nullptr) return CheckLinear(spec, checkpoint, linear);
  if (checkpoint.Find(weight) != nullptr) {
    return TensorError(checkpoint, weight,
                       absl::StrCat("and ", codes, " hold the same weights; which are meant?"));
  }
  ASSIGN_OR_RETURN(const std::optional<GptqForm> form, FormOf(source, checkpoint, linear));
  if (!form) {
    return TensorError(checkpoint, codes, "is there, but quantization_config.dynamic exempts the linear");
  }
  RETURN_IF_ERROR(CheckPacked(*form, source, checkpoint, linear));
  return linear.bias ? BiasView(spec, checkpoint, linear).status() : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<GptqSource>> ReadGptqSource(absl::string_view config_json) {
  ordered_json tree = ParseOrderedJson(QuoteNonFinite(config_json), kSmallJson).value_or(nullptr);
  if (!tree.is_object() || !tree.contains("quantization_config")) return std::nullopt;
  const ordered_json quantization = tree["quantization_config"];
  if (!quantization.is_object() || !quantization.contains("quant_method") ||
      quantization["quant_method"] != "gptq")
    return std::nullopt;
  const nlohmann::json sorted = {{"quantization_config", OwnJson(quantization.dump())}};
  ConfigReader config(sorted);
  GptqSource source;
  source.zeros_less_one = ReadFormat(config) == "gptq";
  source.activation_order = config.BoolOr(Key("desc_act"), false);
  RefuseForeignParts(config);
  ASSIGN_OR_RETURN(source.widths, ReadWidths(config, quantization));
  tree.erase("quantization_config");
  source.config_json = tree.dump();
  return source;
}

absl::StatusOr<std::optional<GptqForm>> FormOf(const GptqSource& source, const Checkpoint& checkpoint,
                                               const Linear& linear) {
  if (checkpoint.Find(linear.name + ".qweight") == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(const DeclaredWidth declared, source.widths.Of(linear.name));
  if (declared.width == 0) return std::nullopt;
  const int64_t group = declared.group_size == -1 ? linear.in : declared.group_size;
  return GptqForm{declared.width, group, (linear.in + group - 1) / group, declared.symmetric};
}

std::vector<absl::Status> FindGptqProblems(const GptqSource& source, const ModelSpec& spec,
                                           const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems = FindOtherTensorProblems(spec, checkpoint);
  for (const Linear& linear : ListLinears(spec)) {
    absl::Status status = CheckGptqLinear(source, spec, checkpoint, linear);
    if (!status.ok()) problems.push_back(std::move(status));
  }
  return problems;
}

}  // namespace quantmoe
