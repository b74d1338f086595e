// What was typed of a spec, flag by flag, before it is read.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace quantmoe::cli {

// The model is "--model" also where it is typed without the flag, the job file "--file".
struct TypedFlags {
  std::map<std::string, std::vector<std::string>> texts;  // by flag, such as "--damp"

  bool Has(const std::string& flag) const { return texts.contains(flag); }
  // The last one; empty when there is none.
  std::string Text(const std::string& flag) const {
    return Has(flag) && !texts.at(flag).empty() ? texts.at(flag).back() : "";
  }
  std::vector<std::string> All(const std::string& flag) const {
    return Has(flag) ? texts.at(flag) : std::vector<std::string>();
  }
  void Set(const std::string& flag, const std::string& text) { texts[flag] = {text}; }
};

}  // namespace quantmoe::cli
