// The table of all job options in docs/options.md, from their entries.
#pragma once

#include <string>

namespace quantmoe::cli {

// Markdown: field, flag, values, default and meaning, a row for each.
std::string OptionsTable();

}  // namespace quantmoe::cli
