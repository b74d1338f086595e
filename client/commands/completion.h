// Shell completion and spelling help, both read from the command tree, so that they cannot go stale.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace quantmoe {

// A bash script that completes commands and flags of `app`, and file names for values.
std::string BashCompletion(const CLI::App& app);

// The command of `app` whose name is nearest to `word`; empty when none is near.
std::string NearestCommand(const CLI::App& app, const std::string& word);

}  // namespace quantmoe
