// The heuristics that code asks for by itself, for programs that know options only too. The table of all is
// plan/heuristics/heuristic.cc, which reads its names from here.
#pragma once

namespace quantmoe {

inline constexpr char kOptimalHeuristic[] = "optimal";  // where a job names none
inline constexpr char kAdditiveHeuristic[] = "optimal-additive";
inline constexpr char kUniformHeuristic[] = "uniform";  // what every other plan is compared with

}  // namespace quantmoe
