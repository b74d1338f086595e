// How long the search for a plan goes on: rounds of probes around the best plan so far, each with a step.
#pragma once

#include "plan/job/job_spec.h"

namespace quantmoe {

// Passes over the sample that a search takes when no effort is asked: as much work as the forward pass and
// the solves together, 150 passes at most, but a round in any case. On small models with large heads a round
// is more than that work.
int DefaultEffort(const ResolvedJob& job);

// Whole rounds that fit the effort, one at least; 0 without effort: the plan of the losses alone. None for
// heuristics that do not search.
int SearchRounds(const ResolvedJob& job);

}  // namespace quantmoe
