// The places from which a process may read models, and how it reaches them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/hub_options.h"
#include "sources/model_directory.h"
#include "sources/model_uri.h"

namespace quantmoe {

struct ModelSources {
  // Model URIs must lie below one of these: a directory, s3://bucket/prefix, gs://bucket/prefix, hf://,
  // hf://owner or hf://owner/name.
  std::vector<std::string> roots = {};
  // False: any URI is allowed, as for a user's own command line.
  bool confined = true;
  HubOptions hub = {};
};

// At the start of a process. INVALID_ARGUMENT INVALID_FIELD names the flag: a root that is relative, missing
// or no directory, a bad endpoint, a secret that cannot be read.
absl::Status CheckModelSources(const ModelSources& sources);

// Opens a URI that this process made itself, whatever its scheme. `hub` is for kHub. Errors as of the places:
// local_directory.h, object_store_directory.h, hub_directory.h.
absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModelDirectory(const ModelUri& uri,
                                                                   const HubOptions& hub = HubOptions());

// Parses, confines and opens: the only way from a URI that somebody gave to a model.
absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModel(absl::string_view uri, const ModelSources& sources);

}  // namespace quantmoe
