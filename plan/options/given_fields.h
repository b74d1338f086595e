// Which fields of a spec somebody set, and where: what is not among them is left to whoever reads the spec.
#pragma once

#include <map>
#include <string>

namespace quantmoe {

// By path below the spec, such as "gptq.damp"; lists are whole. The place is what a message about the field
// names: a flag, or file, line and column.
using GivenFields = std::map<std::string, std::string>;

}  // namespace quantmoe
