// The README.md of an artifact: front matter for model hubs, scores before and after, and the plan in short.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"

namespace quantmoe {

// `scores` is {"original": ..., "planned": ...} of quant/evaluate, or null when nothing was measured.
std::string ModelCard(const BitPlan& plan, const ModelSpec& spec, const nlohmann::json& scores,
                      int64_t original_bytes, const std::string& version);

// What the card says of the files that came from the source unchanged; empty when there are none.
std::string CarriedFilesTable(const std::vector<std::string>& paths);

// The same for an export of a finished artifact: `plan` has the stored widths, `format` is how they are
// stored, `native_bits` the average width that the codes need, `source_bytes` the artifact's weight files.
std::string ExportCard(const BitPlan& plan, const ModelSpec& spec, const nlohmann::json& scores,
                       const std::string& format, double native_bits, int64_t source_bytes,
                       const std::string& version);

}  // namespace quantmoe
