// Which plan a job publishes.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace quantmoe {

enum class PublishChoice {
  kWinner,  // the plan where it beats the uniform plan of the same budget on held-out text, and that one
            // elsewhere
  kPlan,    // the plan whatever the verdict says
};
constexpr std::array<absl::string_view, 2> ChoiceNames(PublishChoice) { return {"winner", "plan"}; }

}  // namespace quantmoe
