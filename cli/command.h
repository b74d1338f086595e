// Commands and their flags, for sources that only add some: CLI11's own header costs each source four seconds
// (docs/decisions/0025). Programs, which own the command line, and what reads it once it is parsed, include
// that header.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plan/options/option.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace quantmoe::cli {

// A flag or an argument of a command, to say more about it.
class AddedFlag {
 public:
  explicit AddedFlag(CLI::Option& option) : option_(&option) {}

  // What the help calls the value. cli/command_files.h tells by it which values are files.
  AddedFlag Type(const std::string& name) const;
  AddedFlag Required() const;
  AddedFlag OneOf(const std::vector<std::string>& values) const;
  AddedFlag Within(const Range& range) const;
  // The help shows the value that the variable has now.
  AddedFlag ShowDefault() const;
  // A list: what stands between separators is a value of its own.
  AddedFlag SplitAt(char separator) const;
  // A list: each occurrence of the flag takes one value, so that an argument may follow.
  AddedFlag OneValueEach() const;

 private:
  CLI::Option* option_;
};

// A command while it is made. A reference: the command line of the program owns what it means.
class Command {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): both mean one command.
  Command(CLI::App& app) : app_(&app) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator CLI::App&() const { return *app_; }

  // `names` are those of a flag ("-o,--output"), of an argument ("job") or of both ("--model,model"). `value`
  // must outlive the parse, and keeps what it holds when nothing is given.
  AddedFlag Add(const std::string& names, std::string& value, const std::string& help) const;
  AddedFlag Add(const std::string& names, int& value, const std::string& help) const;
  AddedFlag Add(const std::string& names, int64_t& value, const std::string& help) const;
  AddedFlag Add(const std::string& names, double& value, const std::string& help) const;
  AddedFlag Add(const std::string& names, std::vector<std::string>& values, const std::string& help) const;
  AddedFlag Add(const std::string& names, std::vector<int>& values, const std::string& help) const;
  AddedFlag Add(const std::string& names, std::vector<double>& values, const std::string& help) const;
  // A flag without a value: true when it is given.
  AddedFlag AddSwitch(const std::string& names, bool& value, const std::string& help) const;

  Command AddCommand(const std::string& name, const std::string& help) const;
  // One of the commands below this one must be named.
  void RequireCommand() const;
  // Called when the command was parsed.
  void OnParsed(std::function<void()> run) const;
  // Flags that are added from now on stand under this title in the help.
  void BeginGroup(const std::string& title) const;
  // Stands below the flags in the help.
  void SetFooter(const std::string& text) const;

 private:
  CLI::App* app_;
};

}  // namespace quantmoe::cli
