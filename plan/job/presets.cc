#include "plan/job/presets.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

using Params = std::map<std::string, std::string>;

constexpr double kNoLimit = 8;

// Experts start at 2 bits and are raised to 4.
Params With(Params more) {
  more.insert({{"floor", "2"}, {"raise", "4"}, {"others", "4"}});
  return more;
}

void AddMixtral(std::vector<Preset>& presets) {
  const auto add = [&presets](const char* name, const char* what, const char* heuristic, Params params,
                              double bits) {
    presets.push_back({absl::StrCat("mixtral-", name), absl::StrCat("Mixtral-8x7B: ", what), heuristic,
                       With(std::move(params)), bits});
  };
  add("attn4", "experts 2, attention 4", "first-blocks", {{"count", "0"}}, 2.06);
  add("attn8", "experts 2, attention 8", "first-blocks", {{"count", "0"}, {"others", "8"}}, 2.17);
  add("first4", "attention 4, experts of the first 4 blocks 4", "first-blocks", {{"count", "4"}}, 2.30);
  add("first8", "attention 4, experts of the first 8 blocks 4", "first-blocks", {{"count", "8"}}, 2.54);
  add("last4", "attention 4, experts of the last 4 blocks 4", "last-blocks", {{"count", "4"}}, 2.30);
  add("last8", "attention 4, experts of the last 8 blocks 4", "last-blocks", {{"count", "8"}}, 2.54);
  add("random-blocks8", "control: experts of 8 random blocks 4", "random",
      {{"unit", "block"}, {"count", "8"}}, 2.54);
  add("top2", "attention 4, the 2 most used experts of each block 4", "expert-frequency", {{"count", "2"}},
      2.54);
  add("top3", "attention 4, the 3 most used experts of each block 4", "expert-frequency", {{"count", "3"}},
      2.79);
  add("top4", "attention 4, the 4 most used experts of each block 4", "expert-frequency", {{"count", "4"}},
      3.03);
  add("global126", "attention 4, the 126 most used experts 4", "expert-frequency",
      {{"scope", "global"}, {"count", "126"}}, 3.01);
  for (const char* which : {"gate", "up", "down"}) {
    presets.push_back({absl::StrCat("mixtral-all-", which),
                       absl::StrCat("Mixtral-8x7B: attention 4, the ", which, " projection of all experts 4"),
                       "projection", With({{"which", which}}), 2.71});
  }
  for (const auto& [blocks, bits] : {std::pair(8, 2.54), std::pair(16, 3.03), std::pair(24, 3.51)}) {
    presets.push_back(
        {absl::StrCat("mixtral-important", blocks),
         absl::StrCat("Mixtral-8x7B: attention 4, experts of the ", blocks, " most important blocks 4"),
         "block-importance", With({{"count", absl::StrCat(blocks)}}), bits});
  }
  add("control8", "control: attention 2, 8 random experts 4", "random", {{"others", "2"}, {"count", "8"}},
      2.06);
  add("control23", "control: attention 2, 23 random experts 4", "random", {{"others", "2"}, {"count", "23"}},
      2.17);
}

void AddDeepSeek(std::vector<Preset>& presets) {
  const auto add = [&presets](const char* name, const char* what, const char* heuristic, Params params,
                              double bits) {
    presets.push_back({absl::StrCat("deepseek-", name), absl::StrCat("DeepSeek-MoE-16B: ", what), heuristic,
                       With(std::move(params)), bits});
  };
  add("attn4", "all experts 2, the rest 4", "first-blocks", {{"count", "0"}, {"shared", "2"}}, 2.07);
  add("shared4", "routed experts 2, the rest 4", "first-blocks", {{"count", "0"}}, 2.13);
  add("top25", "the 25 most used experts of each block and the rest 4", "expert-frequency", {{"count", "25"}},
      2.86);
  for (const auto& [share, bits] :
       {std::pair(25, 2.59), std::pair(50, 3.06), std::pair(55, 3.16), std::pair(60, 3.25)}) {
    presets.push_back({absl::StrCat("deepseek-outlier", share),
                       absl::StrCat("DeepSeek-MoE-16B: the ", share,
                                    " % of routed linears with the largest outliers and the rest 4"),
                       "outlier", With({{"share", absl::StrCat(0.01 * share)}}), bits});
  }
  add("random-linears50", "control: half of the routed linears, at random, 4", "random",
      {{"unit", "linear"}, {"count", "2592"}}, 3.06);
  add("combined", "attention, shared, first 5 blocks and top 25 experts of the others 4", "combined",
      {{"blocks", "5"}, {"count", "25"}}, 3.06);
  add("combined-important", "as deepseek-combined, the 5 most important blocks", "combined",
      {{"blocks", "5"}, {"count", "25"}, {"order", "importance"}}, 3.06);
}

}  // namespace

const std::vector<Preset>& Presets() {
  static const auto* const kPresets = [] {
    auto* presets = new std::vector<Preset>();
    AddMixtral(*presets);
    AddDeepSeek(*presets);
    return presets;
  }();
  return *kPresets;
}

std::vector<FieldViolation> ApplyPreset(const std::string& name, JobSpec& spec) {
  const std::vector<Preset>& presets = Presets();
  const auto found = std::find_if(presets.begin(), presets.end(),
                                  [&name](const Preset& preset) { return preset.name == name; });
  if (found == presets.end()) {
    spec.heuristic = presets.front().heuristic;
    if (spec.budget.members_set() == 0) spec.budget.average_bits = kNoLimit;
    return {{"spec.heuristic.preset",
             absl::StrCat("\"", name.substr(0, 80), "\" is unknown; known are ",
                          absl::StrJoin(presets, ", ", [](std::string* out, const Preset& preset) {
                            absl::StrAppend(out, preset.name);
                          }))}};
  }
  if (!spec.heuristic.empty() && spec.heuristic != found->heuristic) {
    return {{"spec.heuristic.name", absl::StrCat("is ", spec.heuristic, ", but the preset ", name,
                                                 " is made of ", found->heuristic)}};
  }
  spec.heuristic = found->heuristic;
  spec.heuristic_params.insert(found->params.begin(), found->params.end());
  if (spec.budget.members_set() == 0) spec.budget.average_bits = kNoLimit;
  return {};
}

}  // namespace quantmoe
