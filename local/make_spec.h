// The spec that the command line and a job file describe, for jobs that run in this process.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"

#include "cli/spec_input.h"
#include "plan/options/job_spec.h"
#include "sources/model_sources.h"
#include "storage/blob_store.h"

namespace quantmoe {

// Texts and items of jobs, each read once however many of them name it: it may be a pipe. Not thread-safe.
class JobData {
 public:
  // Null `blobs`: they are only read, for jobs that will not run. Both must outlive it.
  JobData(const ModelSources& sources, LocalBlobStore* blobs) : sources_(sources), blobs_(blobs) {}

  // Puts the file into the blobs. Errors of ReadUserData; INVALID_FIELD for a file here that cannot be read.
  absl::StatusOr<Digest> Take(const std::string& path);
  LocalBlobStore* blobs() const { return blobs_; }

 private:
  const ModelSources& sources_;
  LocalBlobStore* const blobs_;
  std::map<std::string, Digest> taken_;
};

// `input` with its preset applied, the texts and items that it names taken into `data`, and the shipped prose
// for what it leaves out. INVALID_FIELD names flags and places of the file.
absl::StatusOr<JobSpec> MakeSpec(cli::SpecInput input, JobData& data);

}  // namespace quantmoe
