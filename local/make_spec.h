// The spec that the command line and a job file describe, for jobs that run in this process.
#pragma once

#include "absl/status/statusor.h"

#include "cli/spec_input.h"
#include "plan/options/job_spec.h"
#include "sources/model_sources.h"
#include "storage/blob_store.h"

namespace quantmoe {

// `input` with its preset applied, the texts and items that it names put into `blobs`, and the shipped prose
// for what it leaves out. Null `blobs`: they are only read, for a job that will not run. INVALID_FIELD names
// flags and places of the file.
absl::StatusOr<JobSpec> MakeSpec(cli::SpecInput input, const ModelSources& sources, LocalBlobStore* blobs);

}  // namespace quantmoe
