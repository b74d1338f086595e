#include "client/commands/completion.h"

#include <algorithm>
#include <memory>
#include <ostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <CLI/CLI.hpp>

#include "base/nearest_name.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"

namespace quantmoe {
namespace {

const std::vector<const CLI::App*> Children(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// Flags that take a value, and all flags.
void CollectFlags(const CLI::App& app, std::vector<std::string>& all, std::vector<std::string>& with_value) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      all.push_back(absl::StrCat("--", name));
      if (option->get_items_expected_max() > 0) with_value.push_back(all.back());
    }
  }
}

struct CompletionTables {
  std::string steps;  // case lines: "path word" -> path
  std::string words;  // case lines: path -> words
  std::vector<std::string> with_value;
};

void Collect(const CLI::App& app, const std::string& path, const std::vector<std::string>& inherited,
             CompletionTables& tables) {
  std::vector<std::string> flags;
  CollectFlags(app, flags, tables.with_value);
  std::vector<std::string> words;
  for (const CLI::App* child : Children(app)) words.push_back(child->get_name());
  words.insert(words.end(), flags.begin(), flags.end());
  for (const std::string& flag : inherited) {
    if (std::find(words.begin(), words.end(), flag) == words.end()) words.push_back(flag);
  }
  absl::StrAppend(&tables.words, "    '", path, "') words='", absl::StrJoin(words, " "), "' ;;\n");
  std::vector<std::string> passed_on = inherited;
  if (path.empty()) passed_on = flags;
  for (const CLI::App* child : Children(app)) {
    const std::string below = path.empty() ? child->get_name() : absl::StrCat(path, " ", child->get_name());
    absl::StrAppend(&tables.steps, "      '", path, ":", child->get_name(), "') path='", below, "' ;;\n");
    Collect(*child, below, passed_on, tables);
  }
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  CompletionTables tables;
  Collect(app, "", {}, tables);
  std::sort(tables.with_value.begin(), tables.with_value.end());
  tables.with_value.erase(std::unique(tables.with_value.begin(), tables.with_value.end()),
                          tables.with_value.end());
  return absl::StrCat(
      "# bash completion of quantmoe; load it with: source <(quantmoe completion bash)\n"
      "_quantmoe() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" path='' words='' value='' i word\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=\"${COMP_WORDS[i]}\"\n"
      "    if [[ -n $value ]]; then value=''; continue; fi\n"
      "    case \"$word\" in\n"
      "      ",
      absl::StrJoin(tables.with_value, "|"),
      ") value=1; continue ;;\n"
      "    esac\n"
      "    case \"$path:$word\" in\n",
      tables.steps,
      "    esac\n"
      "  done\n"
      "  COMPREPLY=()\n"
      "  [[ -n $value ]] && return\n"
      "  case \"$path\" in\n",
      tables.words,
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "}\n"
      "complete -o default -F _quantmoe quantmoe\n");
}

std::string NearestCommand(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* child : Children(app)) names.push_back(child->get_name());
  return NearestName(word, names);
}

void AddCompletionCommand(cli::Command app, CommandContext& context) {
  cli::Command group = app.AddCommand("completion", "Shell completion");
  group.RequireCommand();
  AddCommand(group, context, "bash", "Print a bash completion script: source <(quantmoe completion bash)",
             [app, &context]() -> absl::StatusOr<int> {
               context.out << BashCompletion(app);
               return kExitOk;
             });
}

}  // namespace quantmoe
