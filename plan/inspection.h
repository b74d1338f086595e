// What a model is made of, for people who decide about a job: family, sizes, what is quantized and what is
// kept.
#pragma once

#include <string>

#include "plan/linears.h"
#include "plan/model_spec.h"
#include "storage/checkpoint.h"

namespace quantmoe {

// One JSON document, printed by `quantmoe-local inspect` and CatalogService.InspectModel (fields:
// docs/formats.md). Headers only. A tensor that is missing or has a wrong shape is listed under "problems".
std::string InspectionJson(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace quantmoe
