// How many files and connections the process may have open.
#pragma once

#include <cstddef>

namespace quantmoe {

// Raises the soft limit of open descriptors to the hard one, which the system's default of 1024 keeps far
// below it. Call at the start of main. The limit that holds now.
size_t RaiseDescriptorLimit();

}  // namespace quantmoe
