// The names of the states of a job, as filters and flags take them.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include <google/protobuf/descriptor.h>
#include <quantmoe/v1/jobs.pb.h>

namespace quantmoe {

// "QUEUED, RUNNING, ...".
inline std::string JobStateNames() {
  std::vector<std::string> names;
  const google::protobuf::EnumDescriptor& states = *v1::Job::State_descriptor();
  for (int i = 0; i < states.value_count(); ++i) {
    if (states.value(i)->number() != v1::Job::STATE_UNSPECIFIED) names.push_back(states.value(i)->name());
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace quantmoe
