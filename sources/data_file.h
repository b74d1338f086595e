// Files of data sets on the Hub: calibration texts and benchmark items. Fetched whole through the cache of
// hub_directory.h and checked against the digest that the hub lists.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/model_sources.h"
#include "sources/model_uri.h"
#include "storage/mapped_file.h"

namespace quantmoe {

struct DataUri {
  ModelUri repository;  // kHub, path "datasets/owner/name"
  std::string path;     // of the file in it

  std::string ToString() const;  // canonical text
};

// What this text would be read as, a URI or a local path.
bool IsDataUri(absl::string_view text);

// INVALID_ARGUMENT INVALID_FIELD (field `uri`) for anything but hf://datasets/owner/name[@revision]/path. A
// revision is one segment, or refs/convert/NAME or refs/pr/NUMBER; without one it is main.
absl::StatusOr<DataUri> ParseDataUri(absl::string_view text);

struct DataFile {
  DataUri uri;  // the revision has become a commit
  MappedFile file;
};
// Confined by the same roots as models: hf://, hf://datasets, hf://datasets/owner or
// hf://datasets/owner/name. NOT_FOUND DATA_NOT_FOUND; INVALID_ARGUMENT INVALID_FIELD (field `uri`) for a file
// above 2 GiB; other errors of ParseDataUri, ConfineModelUri and hub_directory.h.
absl::StatusOr<DataFile> ReadDataFile(absl::string_view uri, const ModelSources& sources);

}  // namespace quantmoe
