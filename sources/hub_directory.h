// Models of the Hub, pinned to a commit when they are opened. Files are read by range through a cache on
// disk; whole files are checked against the digest that the hub lists.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "sources/hub_options.h"
#include "sources/model_directory.h"
#include "sources/model_uri.h"

namespace quantmoe {

// `uri` is kHub, a model or a data set; its files are those of `folder`, without the folders below it. Errors
// of sources/hub_client.h; DATA_LOSS HUB_DIGEST_MISMATCH when a whole file has another digest twice.
absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenHubDirectory(const ModelUri& uri,
                                                                 const HubOptions& options,
                                                                 const std::string& folder = "");

}  // namespace quantmoe
