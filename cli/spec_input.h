// A spec on its way in: what it says, and who said it.
#pragma once

#include "plan/options/given_fields.h"
#include "plan/options/job_spec.h"

namespace quantmoe::cli {

struct SpecInput {
  JobSpec spec;
  GivenFields given;
};

}  // namespace quantmoe::cli
