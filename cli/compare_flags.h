// From the flags of `compare` to the jobs that it compares, in both programs: which heuristics spend which
// budgets, and where a control of equal bytes joins them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "cli/command.h"
#include "cli/read_spec.h"
#include "cli/spec_flags.h"
#include "cli/spec_input.h"
#include "cli/typed_flags.h"
#include "plan/options/heuristic_names.h"

namespace quantmoe::cli {

struct CompareFlags {
  TypedFlags spec;                                                               // what all jobs share
  std::vector<std::string> heuristics = {kOptimalHeuristic, kUniformHeuristic};  // NAME[:KEY=VALUE]...
  std::vector<std::string> budgets;                                              // average bits or bytes
  std::vector<std::string> bytes, stored_bits, rank_bytes;
  bool no_control = false;
};

// `flags` must outlive the parse.
void AddCompareFlags(Command command, CompareFlags& flags);

// One job of a comparison.
struct ComparedSpec {
  std::string heuristic;  // as asked, with its parameters
  std::string budget;     // as typed: "2.50"
  std::string title;      // the budget with its unit: "2.5 bits"
  SpecInput input;
};

// Budget by budget, each with every heuristic; heuristic, preset and budget of a job file are not meant.
// INVALID_FIELD names every bad flag and every place of the file at once. Equal flags and files give equal
// specs.
absl::StatusOr<std::vector<ComparedSpec>> ReadComparedSpecs(const CompareFlags& flags, const TakeFile& take);

}  // namespace quantmoe::cli
