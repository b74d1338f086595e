// A job on its way in: its spec, who said what of it, and what it is called.
#pragma once

#include <map>
#include <string>

#include "plan/options/given_fields.h"
#include "plan/options/job_spec.h"
#include "plan/options/option.h"

namespace quantmoe::cli {

// What a service shows of a job beside its spec: the fields of the message Job by their names. Nothing
// follows from it.
struct JobTitle {
  std::string display_name;
  std::map<std::string, std::string> labels;
};

template <SpecOf<JobTitle> Title, typename Visit>
void VisitOptions(Title& title, Visit& visit) {
  visit(OptionInfo{.name = "display_name"}, title.display_name);
  visit(OptionInfo{.name = "labels"}, title.labels);
}

struct SpecInput {
  JobSpec spec;
  GivenFields given;
  JobTitle title = {};
};

}  // namespace quantmoe::cli
