// The one place that turns a JobSpec message into the struct that plan/ works with, and back. It goes by the
// entries of the options (plan/options) and the descriptors of the message, field by field of the same name.
#pragma once

#include <vector>

#include "base/error_info.h"
#include "plan/options/given_fields.h"
#include "plan/options/job_spec.h"
#include "quantmoe/v1/types.pb.h"

namespace quantmoe {

// Fields that the message leaves out keep their defaults. Appends what the message itself has wrong: digests
// that are none, and values of enums and fields that this program does not know; values are judged by
// CheckJobSpec. `given` gets the fields that the message sets, with empty places.
JobSpec JobSpecFromProto(const v1::JobSpec& proto, std::vector<FieldViolation>& violations,
                         GivenFields* given = nullptr);

// The message that JobSpecFromProto reads as `spec`, with every field written out.
v1::JobSpec JobSpecToProto(const JobSpec& spec);
// The same with these fields alone; the rest is left to the reader.
v1::JobSpec JobSpecToProto(const JobSpec& spec, const GivenFields& given);

}  // namespace quantmoe
