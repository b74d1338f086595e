// What an exception says to a user. Libraries write for programmers: numbers of their own, names of
// functions, a stack. Whoever catches at a border shows this instead.
#pragma once

#include <exception>
#include <string>

namespace quantmoe {

// One line of at most 300 bytes; plain words where the exception itself only names a function of the library.
std::string ExceptionText(const std::exception& error);

}  // namespace quantmoe
