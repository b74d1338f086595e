// What a target loader can run, as constraints on a plan. A profile is found by its name once, where a name
// enters; behind that, code holds the record.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantmoe {

// Which routed experts must have one width together.
enum class ExpertSharing { kNone, kLayer, kModel };

struct RuntimeProfile {
  std::string name;
  std::string description;
  std::vector<int> widths;       // ascending
  std::vector<int> group_sizes;  // ascending
  bool symmetric_only = false;   // groups have the zero point 2^(width-1) only, and positive scales
  // Query, key and value have one width, and so have gate and up of an MLP: the loader makes one matrix of
  // them.
  bool fuses_projections = false;
  ExpertSharing experts = ExpertSharing::kNone;
  // Of GPTQ weights: vLLM and SGLang have no kernel for them, and read the experts of such a model fused.
  bool loads_expert_bias = true;
  // The loader looks for modules under names of its own (plan/model/family.h).
  bool own_names = false;

  // Whether a plan may give every linear any width that was solved.
  bool free() const;
};

// By name. The first one allows everything.
const std::vector<RuntimeProfile>& RuntimeProfiles();
const RuntimeProfile& FreeProfile();

// Null when there is no profile of that name.
const RuntimeProfile* FindProfile(absl::string_view name);
// The same, but FreeProfile() then: for specs whose name is still to be refused.
const RuntimeProfile& ProfileNamed(absl::string_view name);
// What is wrong with a name that FindProfile does not know.
std::string UnknownProfile(absl::string_view name);
// All names, with commas between.
std::string ProfileNames();

// Those of the asked widths (all when none are asked) that the profile can load, ascending; may be empty.
std::vector<int> CandidateWidths(const std::vector<int>& widths, const RuntimeProfile& profile);

}  // namespace quantmoe
