#include "cli/command.h"

#include <utility>

#include <CLI/CLI.hpp>

#include "cli/number_range.h"

namespace quantmoe::cli {

AddedFlag AddedFlag::Type(const std::string& name) const { return AddedFlag(*option_->type_name(name)); }
AddedFlag AddedFlag::Required() const { return AddedFlag(*option_->required()); }
AddedFlag AddedFlag::OneOf(const std::vector<std::string>& values) const {
  return AddedFlag(*option_->check(CLI::IsMember(values)));
}
AddedFlag AddedFlag::Within(const Range& range) const {
  return AddedFlag(*option_->check(cli::Within(range)));
}
AddedFlag AddedFlag::ShowDefault() const { return AddedFlag(*option_->capture_default_str()); }
AddedFlag AddedFlag::SplitAt(char separator) const { return AddedFlag(*option_->delimiter(separator)); }
AddedFlag AddedFlag::OneValueEach() const { return AddedFlag(*option_->allow_extra_args(false)); }

AddedFlag Command::Add(const std::string& names, std::string& value, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, value, help));
}
AddedFlag Command::Add(const std::string& names, int& value, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, value, help));
}
AddedFlag Command::Add(const std::string& names, int64_t& value, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, value, help));
}
AddedFlag Command::Add(const std::string& names, double& value, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, value, help));
}
AddedFlag Command::Add(const std::string& names, std::vector<std::string>& values,
                       const std::string& help) const {
  return AddedFlag(*app_->add_option(names, values, help));
}
AddedFlag Command::Add(const std::string& names, std::vector<int>& values, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, values, help));
}
AddedFlag Command::Add(const std::string& names, std::vector<double>& values, const std::string& help) const {
  return AddedFlag(*app_->add_option(names, values, help));
}
AddedFlag Command::AddSwitch(const std::string& names, bool& value, const std::string& help) const {
  return AddedFlag(*app_->add_flag(names, value, help));
}

Command Command::AddCommand(const std::string& name, const std::string& help) const {
  return *app_->add_subcommand(name, help);
}
void Command::RequireCommand() const { app_->require_subcommand(1); }
void Command::OnParsed(std::function<void()> run) const { app_->callback(std::move(run)); }
void Command::BeginGroup(const std::string& title) const { app_->option_defaults()->group(title); }
void Command::SetFooter(const std::string& text) const { app_->footer(text); }

}  // namespace quantmoe::cli
