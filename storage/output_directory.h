// Where a program may put what it makes: the one decision for all of them. An output folder is a new name, an
// empty folder, or an earlier artifact that the user lets it replace. Nothing that no program of ours made is
// ever replaced or removed. Decided before any work; Publication (storage/publication.h) holds to it at the
// end.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quantmoe {

// A path as somebody typed it, once and for all: absolute, links resolved as far as it exists, without `.`,
// `..` and slashes at the end. Empty stays empty.
std::string NormalPath(const std::string& path);

// A folder, or a file, that an output must stay clear of. `path` is normal.
struct ReadFolder {
  std::string what;  // as in "the model"
  std::string path;
};

// The folder of a model and the files elsewhere that it links to. Empty unless it is a folder that exists.
std::vector<ReadFolder> FoldersOfModel(const std::string& directory);

struct OutputRules {
  std::string flag = "--out";  // what a violation names
  bool overwrite = false;      // an earlier artifact may be replaced
  // The output may not be one of these, hold one or lie in one.
  std::vector<ReadFolder> apart_from = {};
};

// What an output folder is before it is written.
enum class OutputState {
  kNew,       // there is nothing of that name
  kEmpty,     // a folder with nothing in it but an unfinished publication of ours
  kArtifact,  // an earlier artifact, nothing else in it
};
// FAILED_PRECONDITION OUTPUT_EXISTS says why the normal `path` may not be written.
absl::StatusOr<OutputState> JudgeOutput(const std::string& path, bool overwrite);

// The normal path of an output folder. INVALID_ARGUMENT INVALID_FIELD (rules.flag): as of JudgeOutput, a
// folder that is apart_from or holds the current one, a place where nothing can be created.
absl::StatusOr<std::string> CheckOutputDirectory(const std::string& path, const OutputRules& rules);

// The normal path of a working folder, new, empty or one of ours. INVALID_FIELD likewise.
absl::StatusOr<std::string> CheckWorkPath(const std::string& path, const OutputRules& rules);

// A report or a drawing replaces the file of that name, as a shell's `>` does. INVALID_FIELD (`flag`) for a
// folder, a place that does not exist, and for what is or lies in one of `apart_from`, by whatever name.
// Empty is fine: not wanted.
absl::Status CheckOutputFile(const std::string& path, const std::string& flag,
                             const std::vector<ReadFolder>& apart_from = {});

// INVALID_FIELD (`flag`) where `path`, which need not exist, is one of `apart_from`, holds one or lies in
// one. Pipes, devices and empty paths are apart from everything.
absl::Status CheckApart(const std::string& path, const std::string& flag,
                        const std::vector<ReadFolder>& apart_from);

// Writes such a file: the old content stays until the new one is complete. Pipes and devices are written as
// they are. Errors name the path.
absl::Status WriteOutputFile(const std::string& path, const std::string& text);

// Takes a server's data directory: new, empty, or of an earlier start, by its database or the mark that this
// leaves. FAILED_PRECONDITION DATA_DIR_FOREIGN.
absl::Status ClaimDataDirectory(const std::string& path);

// Beside an output NAME: the working folder in which its publication is prepared.
std::string StagingBeside(const std::string& path);  // .NAME.partial
std::string StagingWithin(const std::string& path);  // for an empty folder, which is filled

}  // namespace quantmoe
