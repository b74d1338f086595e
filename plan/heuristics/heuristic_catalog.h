// What heuristics there are, with the parameters that each takes.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace quantmoe {

enum class ParamType {
  kWidth,   // one of the candidate widths
  kCount,   // a whole number, not negative
  kShare,   // in [0, 1]
  kChoice,  // one of `choices`
};

struct HeuristicParam {
  std::string name;
  ParamType type = ParamType::kWidth;
  std::string description;
  std::vector<std::string> choices = {};
};

struct HeuristicRecord {
  std::string name;
  std::string description;
  // True when only shapes decide, so that a plan is known before anything was measured.
  bool needs_no_data = false;
  std::vector<HeuristicParam> params;

  // Null when it takes no such parameter.
  const HeuristicParam* Find(const std::string& param) const;
};

const std::vector<HeuristicRecord>& HeuristicCatalog();
// Null when there is no heuristic of that name.
const HeuristicRecord* FindHeuristic(const std::string& name);

// The catalog as users read it.
struct HeuristicDescription {
  std::string name;
  std::string description;
  std::map<std::string, std::string> params;
};
const std::vector<HeuristicDescription>& Heuristics();

}  // namespace quantmoe
