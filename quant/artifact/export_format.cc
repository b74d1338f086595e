#include "quant/artifact/export_format.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "quant/artifact/compressed_tensors.h"
#include "quant/artifact/gptq_config.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

at::Tensor PackGptq(const SignedLinear& solved, int width, TensorContent content) {
  const GptqTensors stored = MirrorNegativeGroups(solved.qweight, solved.scales, width);
  if (content == TensorContent::kCodes) return stored.qweight;
  return content == TensorContent::kZeroPoints ? stored.qzeros : stored.scales;
}

at::Tensor UnpackGptq(const StoredWeights& stored, int width, int /*group_size*/) {
  return DequantizeStored({stored.codes, stored.zero_points, stored.scales}, width);
}

Json ConfigOfGptq(const PublishedArtifact& artifact, const BitPlan& plan, const RuntimeProfile& /*profile*/,
                  const std::vector<TensorInfo>& kept, const std::string& version) {
  const Json spec = artifact.manifest().value("spec", Json::object());
  const nlohmann::json gptq = OwnJson(spec.value("gptq", Json::object()).dump());
  return GptqConfig(plan, artifact.spec(), kept, gptq, version);
}

std::vector<std::string> NoWarnings(const BitPlan&, const RuntimeProfile&) { return {}; }

at::Tensor PackTransposed(const SignedLinear& solved, int /*width*/, TensorContent content) {
  return (content == TensorContent::kCodes ? solved.qweight : solved.scales).t().contiguous();
}

at::Tensor UnpackTransposed(const StoredWeights& stored, int width, int group_size) {
  return Dequantize(UnpackRows(stored.codes.t().contiguous(), width), stored.scales.t().contiguous(), width,
                    group_size);
}

Json ConfigOfCompressedTensors(const PublishedArtifact& artifact, const BitPlan& plan,
                               const RuntimeProfile& profile, const std::vector<TensorInfo>& kept,
                               const std::string& /*version*/) {
  return CompressedTensorsConfig(plan, profile, artifact.spec(), kept);
}

// docs/formats.md, section 10.
std::vector<std::string> WarningsOfCompressedTensors(const BitPlan& plan, const RuntimeProfile& profile) {
  const auto expert = [](const PlannedLinear& planned) { return IsExpert(planned.linear.kind); };
  if (profile.experts == ExpertSharing::kModel ||
      std::none_of(plan.linears.begin(), plan.linears.end(), expert)) {
    return {};
  }
  return {
      "transformers computes wrong logits from compressed-tensors whose experts are listed by name; for it, "
      "export with --profile sglang"};
}

std::span<const ExportFormat> ExportFormats() {
  static const std::array<ExportFormat, kNumWeightFormats> kFormats = {{
      {.stored = GptqFormat(),
       .pack = PackGptq,
       .unpack = UnpackGptq,
       .config = ConfigOfGptq,
       .warnings = NoWarnings,
       .loaders_names = true},
      {.stored = CompressedTensorsFormat(),
       .pack = PackTransposed,
       .unpack = UnpackTransposed,
       .config = ConfigOfCompressedTensors,
       .warnings = WarningsOfCompressedTensors},
  }};
  return kFormats;
}

}  // namespace

const ExportFormat* FindExportFormat(absl::string_view name) {
  for (const ExportFormat& format : ExportFormats()) {
    if (format.stored.name == name) return &format;
  }
  return nullptr;
}

}  // namespace quantmoe
