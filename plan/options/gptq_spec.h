// How one linear is quantized: the message GptqParams of proto/quantmoe/v1/types.proto.
#pragma once

#include <string>
#include <vector>

#include "plan/options/column_order.h"
#include "plan/options/option.h"
#include "plan/options/scale_rule.h"

namespace quantmoe {

// Whose outputs calibrate a layer. Original: those of the original layers before it, so all layers solve at
// once and another budget costs no new solve. Quantized: after the allocation a second pass solves layer
// after layer on what the quantized layers before it give.
enum class Propagation { kOriginal, kQuantized };
constexpr std::array<absl::string_view, 2> ChoiceNames(Propagation) { return {"original", "quantized"}; }

struct GptqSpec {
  int group_size = 0;       // 0: largest of 128, 64, 32 that divides every input width
  std::vector<int> widths;  // that are solved; empty: 2, 3, 4, 8. The profile chooses among them
  double damp = 0.01;
  ColumnOrder order = ColumnOrder::kActivation;
  ScaleRule scales = ScaleRule::kAuto;
  double min_tokens_ratio = 0.25;
  double max_fallback_ratio = 0.25;
  bool gate_weighted = false;  // tokens count for an expert by the square of their router weight
  double shrinkage = 0;        // pull of a cold expert's Hessian toward its layer's, in tokens a channel
  // Patterns (WidthRule::pattern) of experts that all tokens of their layer calibrate, routed to them or not.
  std::vector<std::string> all_tokens;
  Propagation propagation = Propagation::kOriginal;
  double correction = 1;  // quantized pass: share of the drift of its inputs that a linear makes up for

  friend bool operator==(const GptqSpec&, const GptqSpec&) = default;
};

template <SpecOf<GptqSpec> Spec, typename Visit>
void VisitOptions(Spec& gptq, Visit& visit) {
  visit(OptionInfo{.name = "group_size",
                   .flag = "--group-size",
                   .help = "Input channels that share a scale: 32, 64 or 128",
                   .unset = "the largest that fits",
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks | kProbeTasks | kChoiceTasks},
        gptq.group_size);
  visit(OptionInfo{.name = "widths",
                   .flag = "--widths",
                   .help = "Candidate widths in bits",
                   .unset = "2,3,4,8",
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.widths);
  visit(OptionInfo{.name = "damp",
                   .flag = "--damp",
                   .help = "Dampening, as a share of the Hessian's mean diagonal",
                   .range = Between(1e-9, 1),
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.damp);
  visit(OptionInfo{.name = "order",
                   .flag = "--order",
                   .help = "In which columns are quantized: natural, activation or group",
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.order);
  visit(OptionInfo{.name = "scales",
                   .flag = "--scales",
                   .help =
                       "Of a group: positive (least error), signed (of either sign), range (from its largest "
                       "weight), auto (signed at 2 and 3 bits, positive above)",
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks | kChoiceTasks},
        gptq.scales);
  visit(OptionInfo{.name = "min_tokens_ratio",
                   .flag = "--min-tokens-ratio",
                   .help = "Round linears that saw fewer tokens than this share of their input width",
                   .range = Between(0, 1000),
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.min_tokens_ratio);
  visit(OptionInfo{.name = "max_fallback_ratio",
                   .flag = "--max-fallback-ratio",
                   .help = "Fail when more than this share of the linears was rounded",
                   .range = Between(0, 1),
                   .kept = Kept::kAlways,
                   .tasks = kChoiceTasks | kAssembleTasks},
        gptq.max_fallback_ratio);
  visit(OptionInfo{.name = "propagation",
                   .flag = "--propagation",
                   .help = "original: all layers at once; quantized: each layer on what the quantized ones "
                           "before it give",
                   .kept = Kept::kAlways},
        gptq.propagation);
  visit(
      OptionInfo{.name = "correction",
                 .flag = "--correction",
                 .help = "Quantized propagation: share of the inputs' drift that weights make up for, 0 to 1",
                 .range = Between(0, 1),
                 .kept = Kept::kAlways,
                 .tasks = kSecondPassTasks},
      gptq.correction);
  visit(OptionInfo{.name = "gate_weighted",
                   .flag = "--gate-weighted",
                   .help = "Count tokens for an expert by the square of their router weight",
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.gate_weighted);
  visit(OptionInfo{.name = "shrinkage",
                   .flag = "--shrinkage",
                   .help = "Pull of a cold expert's Hessian toward its layer's, in tokens a channel",
                   .unset = "0, off",
                   .range = Between(0, 100),
                   .kept = Kept::kAlways,
                   .tasks = kSolveTasks},
        gptq.shrinkage);
  // A solve is told the numbers of the experts that the patterns name in its part.
  visit(OptionInfo{.name = "all_tokens",
                   .flag = "--all-tokens",
                   .help = "Experts that all tokens of their layer calibrate, routed or not",
                   .value = "PATTERN",
                   .kept = Kept::kAlways},
        gptq.all_tokens);
}

}  // namespace quantmoe
