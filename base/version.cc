#include "base/version.h"

namespace quantmoe {

const char kProgramVersion[] = QUANTMOE_VERSION;

}  // namespace quantmoe
