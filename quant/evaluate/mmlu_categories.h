// The four categories into which MMLU's 57 published subjects fall.
#pragma once

#include <string_view>

namespace quantmoe {

// "stem", "humanities", "social_sciences" or "other"; empty for a subject that was not published.
std::string_view MmluCategory(std::string_view subject);

}  // namespace quantmoe
