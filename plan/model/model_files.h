// The files of a model directory beside config.json and the weights.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/model_directory.h"

namespace quantmoe {

// Which files of the source an artifact carries unchanged, sorted by name: what other runtimes need to read
// and write text, model code, which is copied and never run, and what the publisher of the model wants to go
// with it. One table, in the source file. Errors of the directory; what a pattern names and is larger than a
// text would be is left out.
absl::StatusOr<std::vector<ModelFile>> ListCarriedFiles(ModelDirectory& directory);

// Identifies the files of ListCarriedFiles, tokenizer and templates among them, for caching: another one when
// one of them may have changed. Errors of ListCarriedFiles.
absl::StatusOr<std::string> FingerprintOfFiles(ModelDirectory& directory);

// config.json as text. INVALID_ARGUMENT MODEL_INVALID when there is none, or a pointer of Git LFS in its
// place.
absl::StatusOr<std::string> ReadModelConfig(ModelDirectory& directory);

// What is wrong with these files as far as their sizes and the smallest of them tell: one is a pointer of Git
// LFS, or too large to be read. INVALID_ARGUMENT MODEL_INVALID names the file.
std::vector<absl::Status> FindFileProblems(ModelDirectory& directory);

}  // namespace quantmoe
