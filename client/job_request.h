// From flags and a job file to requests about jobs, shared by submit, estimate and compare. Local files are
// hashed here and sent by the caller; those at hf://datasets/... are fetched by the server.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <quantmoe/v1/jobs.pb.h>

#include "cli/command.h"
#include "cli/read_spec.h"
#include "cli/typed_flags.h"
#include "client/transfer/upload.h"

namespace quantmoe {

// The job around its spec.
struct JobFlags {
  std::string name;
  std::string display_name;
  std::vector<std::string> labels;  // k=v
  std::string request_id;
  bool validate_only = false;
};

// `flags` must outlive the parse.
void AddJobFlags(cli::Command command, JobFlags& flags);

// Adds local files to `uploads`, which must outlive it.
cli::TakeFile TakeUploads(FileUploads& uploads);

// Name and labels of a job file; labels that the job has already stay.
void TakeTitle(const cli::JobTitle& title, v1::Job& job);

// What was given, and no more: the rest is left to the server. INVALID_ARGUMENT INVALID_FIELD names every bad
// flag at once. Files of the spec are added to `uploads`.
absl::StatusOr<v1::JobSpec> MakeJobSpec(const cli::TypedFlags& flags, const cli::SpecNeeds& needs,
                                        FileUploads& uploads);
absl::StatusOr<v1::CreateJobRequest> MakeCreateJobRequest(const cli::TypedFlags& spec, const JobFlags& job,
                                                          FileUploads& uploads);

// A random UUID, version 4.
std::string RandomUuid();

}  // namespace quantmoe
