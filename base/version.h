// The version of all programs of this source tree, as CMakeLists.txt has it.
#pragma once

namespace quantmoe {

extern const char kProgramVersion[];

}  // namespace quantmoe
