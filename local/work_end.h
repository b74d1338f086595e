// What becomes of a working folder when a command ends.
#pragma once

#include "absl/status/status.h"

#include "storage/work_directory.h"

namespace quantmoe {

// Whether a run has left results there.
bool HoldsResults(const WorkDirectory& work);

// After a failure that left results, the folder stays and standard error says where it is: true. Else it goes
// if it is the command's `own` choice and not the user's: false.
bool EndWork(WorkDirectory& work, bool own, const absl::Status& status);

}  // namespace quantmoe
