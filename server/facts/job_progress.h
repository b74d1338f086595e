// How far a job is, counted from its tasks. Pure.
#pragma once

#include "quantmoe/v1/jobs.pb.h"
#include "server/facts/job_table.h"

namespace quantmoe {

// Stages in the order of a job; those without a task are left out.
v1::Progress ProgressOf(const Job& job);

}  // namespace quantmoe
