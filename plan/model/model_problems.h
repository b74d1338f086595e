// Everything about a model that a job refuses and that can be known before it starts: from config.json, the
// headers of the weights, the tokenizer and the other files. The one list behind inspection and the creation
// of jobs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"

namespace quantmoe {

// Each problem once, the worst kind first; none means that no job is refused because of the model. Each is
// INVALID_ARGUMENT MODEL_INVALID or MODEL_UNSUPPORTED, or an error of OpenTokenizer, and names its file, and
// the tensor if it is one's.
// Weights are read only where an output head is stored although config.json ties it to the embedding: from a
// disk both whole, from elsewhere a part of both.
std::vector<absl::Status> FindModelProblems(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace quantmoe
