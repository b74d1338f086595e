#include "plan/allocate/runtime_profile.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {

const std::vector<RuntimeProfile>& RuntimeProfiles() {
  static const auto* const kProfiles = new std::vector<RuntimeProfile>{
      {.name = "any",
       .description = "Any width for every linear.",
       .widths = {2, 3, 4, 8},
       .group_sizes = {32, 64, 128}},
      {.name = "gptqmodel",
       .description =
           "GPTQModel: any width for every linear. (transformers ignores `dynamic` and loads plans of "
           "one width only.)",
       .widths = {2, 3, 4, 8},
       .group_sizes = {32, 64, 128},
       .own_names = true},
      {.name = "sglang",
       .description =
           "SGLang: 4 or 8 bits; one width for the experts of all layers, and for the linears that "
           "it fuses (query, key and value; gate and up).",
       .widths = {4, 8},
       .group_sizes = {32, 64, 128},
       .symmetric_only = true,
       .fuses_projections = true,
       .experts = ExpertSharing::kModel,
       .loads_expert_bias = false},
      {.name = "vllm",
       .description = "vLLM: 4 or 8 bits; one width for the experts of a layer, and for the linears that it "
                      "fuses (query, key and value; gate and up).",
       .widths = {4, 8},
       .group_sizes = {32, 64, 128},
       .symmetric_only = true,
       .fuses_projections = true,
       .experts = ExpertSharing::kLayer,
       .loads_expert_bias = false},
  };
  return *kProfiles;
}

const RuntimeProfile& FreeProfile() { return RuntimeProfiles().front(); }

bool RuntimeProfile::free() const {
  return !fuses_projections && experts == ExpertSharing::kNone && widths == FreeProfile().widths;
}

const RuntimeProfile* FindProfile(absl::string_view name) {
  for (const RuntimeProfile& profile : RuntimeProfiles()) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

const RuntimeProfile& ProfileNamed(absl::string_view name) {
  const RuntimeProfile* profile = FindProfile(name);
  return profile != nullptr ? *profile : FreeProfile();
}

std::string ProfileNames() {
  const auto add = [](std::string* out, const RuntimeProfile& profile) { out->append(profile.name); };
  return absl::StrJoin(RuntimeProfiles(), ", ", add);
}

std::string UnknownProfile(absl::string_view name) {
  return absl::StrCat("\"", name.substr(0, 80), "\" is unknown; known are ", ProfileNames());
}

std::vector<int> CandidateWidths(const std::vector<int>& widths, const RuntimeProfile& profile) {
  std::vector<int> candidates = !widths.empty() ? widths : FreeProfile().widths;
  std::erase_if(candidates, [&profile](int width) {
    return std::find(profile.widths.begin(), profile.widths.end(), width) == profile.widths.end();
  });
  std::sort(candidates.begin(), candidates.end());
  return candidates;
}

}  // namespace quantmoe
