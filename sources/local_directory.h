// Models on a disk of this machine. Files are mapped.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "sources/model_directory.h"
#include "sources/model_uri.h"

namespace quantmoe {

// `uri` is kFile. NOT_FOUND MODEL_NOT_FOUND when it does not exist or is no directory.
absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenLocalDirectory(const ModelUri& uri);

}  // namespace quantmoe
