// Unguessable names.
#pragma once

#include <string>

namespace quantmoe {

// Random bytes of the operating system, as lower-case hexadecimal.
std::string RandomHex(int bytes);

}  // namespace quantmoe
