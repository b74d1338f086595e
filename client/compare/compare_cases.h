// From the flags of `quantmoe compare` to one request for each heuristic and budget, and what the jobs cost.
// No calls here.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <quantmoe/v1/jobs.pb.h>

#include "cli/compare_flags.h"
#include "cli/comparison.h"
#include "client/transfer/upload.h"

namespace quantmoe {

// One job of a comparison, before and after it is created.
struct CompareCase {
  ComparedJob compared;
  v1::CreateJobRequest request;
  v1::Job job;
};

// Errors and order as of cli::ReadComparedSpecs. Equal flags and files give equal requests, with equal ids;
// those of jobs start with `name`, unless it is empty. Files of the spec are added to `uploads`.
absl::StatusOr<std::vector<CompareCase>> MakeCompareCases(const cli::CompareFlags& flags,
                                                          const std::string& name, FileUploads& uploads);

// What the job cost, whether it succeeded or not.
void ReadCost(const v1::Job& job, ComparedJob& compared);

// A request id that follows from the text alone.
std::string CompareRequestId(const std::string& text);

}  // namespace quantmoe
