// From flags and a job file to a spec. `quantmoe` and `quantmoe-local` read with this: what is typed to
// either gives the same spec.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/error_info.h"
#include "cli/spec_input.h"
#include "cli/typed_flags.h"
#include "storage/digest.h"

namespace quantmoe::cli {

// What must have been given, and what of a job file is meant.
struct SpecNeeds {
  bool model = true;
  bool budget = true;
  // Else its heuristic, preset and budget are passed over: a comparison chooses its own.
  bool choice_of_file = true;
};

// Takes a file that the user named, a path or a URI hf://datasets/...: its digest, once its bytes are where
// they belong; nothing when somebody else fetches it. Errors are about the file.
using TakeFile = std::function<absl::StatusOr<std::optional<Digest>>(const std::string& path_or_uri)>;

// What the job file of --file says, and what is wrong with it; nothing without that flag. Specs that share a
// file read it once, since it may be a pipe.
struct FileInput {
  SpecInput input;
  std::vector<FieldViolation> violations;
};
FileInput ReadFileOf(const TypedFlags& typed);

// Flags win over the job file: a flag replaces the field, a budget flag the whole budget, --pin and its like
// all rules, --task all benchmarks; --param adds to the parameters. Without heuristic and preset it is
// `optimal`. INVALID_FIELD names every bad flag and every place of the file at once; what is missing only
// where nothing of the file was misread. What `take` fails with for another reason than its input comes as it
// is, with the flag.
absl::StatusOr<SpecInput> ReadSpec(const TypedFlags& typed, const SpecNeeds& needs, const TakeFile& take);
absl::StatusOr<SpecInput> ReadSpec(FileInput file, const TypedFlags& typed, const SpecNeeds& needs,
                                   const TakeFile& take);
// The files apart: `input` was read with LeaveFile.
absl::Status TakeFiles(const TakeFile& take, SpecInput& input);
absl::StatusOr<std::optional<Digest>> LeaveFile(const std::string& path_or_uri);

// Why --ranks is refused where no budget is one of ranks.
inline constexpr char kNoRanks[] = "says nothing without a budget in --rank-bytes";

// Sets the flag of a budget that may be average bits ("3.0") or bytes of the weight files ("400MB").
void SetBudgetFlag(const std::string& text, TypedFlags& flags);

// An absolute model directory; URIs as they are.
std::string AbsoluteModelUri(const std::string& model);

}  // namespace quantmoe::cli
