// The texts and items that a spec names: each by its digest, or by a file that stands for it.
#pragma once

#include <string>
#include <vector>

#include "plan/options/job_spec.h"

namespace quantmoe {

struct SpecFile {
  std::string field;      // of the digest, such as "spec.evaluation.tasks[0].data"
  std::string uri_field;  // likewise
  Digest* digest;
  std::string* uri;  // empty: none
};

// Every one of them; members of `spec`.
std::vector<SpecFile> FilesOf(JobSpec& spec);

// Every blob that the spec needs and names, with the field that names it. Without those of an evaluation that
// is skipped.
struct NamedBlob {
  std::string field;
  Digest digest;
};
std::vector<NamedBlob> NamedBlobs(const JobSpec& spec);

}  // namespace quantmoe
