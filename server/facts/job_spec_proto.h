// The one place that turns a JobSpec message into the struct that plan/ works with, and back.
#pragma once

#include <vector>

#include "base/error_info.h"
#include "plan/job/job_spec.h"
#include "quantmoe/v1/types.pb.h"

namespace quantmoe {

// Texts that stand in where a message names none.
struct DefaultTexts {
  Digest calibration;
  Digest heldout;
};

// Appends what the message itself has wrong; the values are judged by CheckJobSpec.
JobSpec JobSpecFromProto(const v1::JobSpec& proto, const DefaultTexts& texts,
                         std::vector<FieldViolation>& violations);

// The message that JobSpecFromProto reads as `spec`, with every field written out.
v1::JobSpec JobSpecToProto(const JobSpec& spec);

// Every blob that the spec names, with the field that names it.
struct NamedBlob {
  std::string field;
  Digest digest;
};
std::vector<NamedBlob> NamedBlobs(const JobSpec& spec);

}  // namespace quantmoe
