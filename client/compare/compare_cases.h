// From the flags of `quantmoe compare` to one request for each heuristic and budget. No calls here.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <quantmoe/v1/jobs.pb.h>

#include "client/compare/comparison.h"
#include "client/job_request.h"
#include "client/transfer/upload.h"

namespace quantmoe {

struct CompareFlags {
  cli::TypedFlags spec;                                          // what all jobs share
  std::vector<std::string> heuristics = {"optimal", "uniform"};  // NAME[:KEY=VALUE]...
  std::vector<double> bits;
  std::vector<std::string> bytes;
  std::vector<double> stored_bits;
  std::vector<std::string> rank_bytes;
  bool no_control = false;
  std::string name;
  std::string markdown, html, json;
};

// One job of a comparison, before and after it is created.
struct CompareCase {
  ComparedJob compared;
  v1::CreateJobRequest request;
  v1::Job job;
};

// Budget by budget, each with every heuristic. INVALID_ARGUMENT INVALID_FIELD names every bad flag at once.
// Equal flags and files give equal requests, with equal ids. Files of the spec are added to `uploads`.
absl::StatusOr<std::vector<CompareCase>> MakeCompareCases(const CompareFlags& flags, FileUploads& uploads);

// A request id that follows from the text alone.
std::string CompareRequestId(const std::string& text);

}  // namespace quantmoe
