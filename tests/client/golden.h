// Text that must not change by accident. QUANTMOE_UPDATE_GOLDEN=1 rewrites the files.
#pragma once

#include <string>

namespace quantmoe {

// Fails the test when `text` is not the content of golden/<name>.
void ExpectGolden(const std::string& name, const std::string& text);

}  // namespace quantmoe
