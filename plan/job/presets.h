// The configurations that QuantMoE-Bench (arXiv 2406.08155) published, as heuristics of ours.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error_info.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

struct Preset {
  std::string name;
  std::string description;
  std::string heuristic;
  std::map<std::string, std::string> params;
  double average_bits = 0;  // of the model that `description` names
};

const std::vector<Preset>& Presets();

// Sets heuristic and parameters; parameters of the spec win. Without a budget nothing limits the
// configuration: 8 average bits. Violations: an unknown name, or a heuristic that is not the preset's (empty:
// none was asked). After an unknown name the spec holds some heuristic and budget, so that nothing else about
// it is said to be missing.
std::vector<FieldViolation> ApplyPreset(const std::string& name, JobSpec& spec);

}  // namespace quantmoe
