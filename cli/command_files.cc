#include "cli/command_files.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <CLI/CLI.hpp>

#include "base/error_info.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

// Types of values that are no paths. A type with a list of choices ("TEXT:{f32,bf16}") is none either.
constexpr const char* kNoPaths[] = {"INT",     "UINT",      "FLOAT",        "BOOLEAN", "JOB",
                                    "JOB_ID",  "PREFIX",    "WORKER",       "PATTERN", "SIZE",
                                    "SECONDS", "KEY=VALUE", "PATTERN=BITS", "ADDR"};

struct Output {
  std::string flag, path;
  bool is_file = false;
};

struct CommandFiles {
  std::vector<ReadFolder> read;
  std::vector<Output> outputs;
};

bool IsPath(const std::string& type) {
  const std::string name = type.substr(0, type.find(':'));
  return !absl::StrContains(type, ":{") &&
         std::find(std::begin(kNoPaths), std::end(kNoPaths), name) == std::end(kNoPaths);
}

// In a folder of a model or an artifact every file counts, and what a link in it leads to; in another one
// what benchmark items are kept in.
void AddFolder(const std::string& folder, const std::string& what, std::vector<ReadFolder>& read) {
  std::error_code ignored;
  if (fs::exists(folder + "/config.json", ignored) || fs::exists(folder + "/artifact.json", ignored)) {
    for (ReadFolder& part : FoldersOfModel(folder))
      read.push_back({part.path == folder ? what : absl::StrCat("a file of ", what), std::move(part.path)});
    return;
  }
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const std::string ending = entry->path().extension().string();
    if (ending == ".jsonl" || ending == ".parquet")
      read.push_back({absl::StrCat("a file of ", what), NormalPath(entry->path().string())});
  }
}

void AddRead(const std::string& flag, const std::string& path, std::vector<ReadFolder>& read) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  const std::string what =
      absl::StrCat("the ", absl::StripPrefix(flag, "--"), " that this command reads (", flag, ")");
  if (fs::is_directory(status)) return AddFolder(NormalPath(path), what, read);
  if (fs::is_regular_file(status)) read.push_back({what, NormalPath(path)});
}

// A path, its URI (file:///path; file:path of a token), or NAME=PATH.
void AddValue(const std::string& flag, const std::string& value, std::vector<ReadFolder>& read) {
  const std::string path(absl::StripPrefix(value, "file:"));
  if (!absl::StrContains(path, "://")) AddRead(flag, path, read);
  if (const size_t equals = path.find('='); equals != std::string::npos)
    AddValue(flag, path.substr(equals + 1), read);
}

void AddOption(const CLI::Option& option, CommandFiles& files) {
  const std::string type = option.get_type_name(), flag = option.get_name();
  const bool is_file = type == kOutputFile;
  for (const std::string& value : option.results()) {
    if (is_file || type == kOutputFolder) {
      files.outputs.push_back({flag, value, is_file});
    } else if (IsPath(type)) {
      AddValue(flag, value, files.read);
    }
  }
}

void Collect(const CLI::App& app, CommandFiles& files) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() > 0) AddOption(*option, files);
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* one) { return one->parsed(); }))
    Collect(*command, files);
}

}  // namespace

absl::Status CheckCommandFiles(const CLI::App& app, const std::vector<ReadFolder>& read) {
  CommandFiles files{read, {}};
  Collect(app, files);
  std::vector<FieldViolation> violations;
  std::vector<ReadFolder> others;
  for (const Output& output : files.outputs) {
    absl::Status status = output.is_file ? CheckOutputFile(output.path, output.flag, files.read)
                                         : CheckApart(output.path, output.flag, files.read);
    status.Update(CheckApart(output.path, output.flag, others));
    for (FieldViolation& violation : GetErrorInfo(status).violations)
      violations.push_back(std::move(violation));
    others.push_back({absl::StrCat("the output of ", output.flag), NormalPath(output.path)});
  }
  return InvalidFields(std::move(violations));
}

}  // namespace quantmoe
