// What states of a job mean.
#pragma once

#include <quantmoe/v1/jobs.pb.h>

namespace quantmoe {

// A job in it has ended.
inline bool IsTerminal(v1::Job::State state) {
  return state == v1::Job::SUCCEEDED || state == v1::Job::FAILED || state == v1::Job::CANCELLED;
}

}  // namespace quantmoe
