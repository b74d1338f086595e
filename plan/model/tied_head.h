// An output head that is stored although config.json ties it to the embedding.
#pragma once

#include "absl/status/status.h"

#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"

namespace quantmoe {

// INVALID_ARGUMENT MODEL_INVALID when the stored head is another than the embedding: transformers 5 computes
// with the head then, transformers 4 and vLLM with the embedding. On a local disk all bytes are compared,
// elsewhere the first and the last mebibyte.
absl::Status CheckTiedHead(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace quantmoe
