// What a model is made of, for people who decide about a job: family, sizes, what is quantized and what is
// kept.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "sources/model_directory.h"

namespace quantmoe {

// One JSON document, printed by `quantmoe-local inspect` and CatalogService.InspectModel (fields:
// docs/formats.md). Of the weights, headers only. Every weight file that is missing or damaged, and all that
// FindModelProblems (plan/model/model_problems.h) finds, is listed under "problems". INVALID_ARGUMENT
// MODEL_INVALID or MODEL_UNSUPPORTED for a config.json of which nothing can be said; UNAVAILABLE and the like
// from where the model is.
absl::StatusOr<std::string> InspectModel(std::shared_ptr<ModelDirectory> directory);

}  // namespace quantmoe
