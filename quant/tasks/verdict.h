// Who wins, the plan or the uniform plan of the same budget.
#pragma once

#include "plan/allocate/bit_plan.h"
#include "quant/tasks/sample_run.h"

namespace quantmoe {

// Both on the same windows, one at least. The plan wins when the mean of its windows is surely less, by a
// paired bootstrap at 95 %, and no more of them are broken. Who is published is left open.
PlanVerdict Judge(const MeasuredPlan& uniform, const MeasuredPlan& plan);

}  // namespace quantmoe
