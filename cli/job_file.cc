#include "cli/job_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include "base/nearest_name.h"
#include "base/text.h"
#include "cli/value_text.h"
#include "cli/yaml_tree.h"
#include "storage/whole_file.h"

namespace quantmoe::cli {
namespace {

namespace fs = std::filesystem;
using Strings = std::map<std::string, std::string>;

// The fewest digits that read as the same number.
std::string ShortestText(double value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), end.ptr};
}

std::string Below(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

class FileReader {
 public:
  // `folder` is where relative paths start.
  FileReader(std::string name, std::string folder, SpecInput& input, std::vector<FieldViolation>& violations)
      : name_(std::move(name)), folder_(std::move(folder)), input_(input), violations_(violations) {}

  void Read(const YamlNode& root) {
    if (root.kind == YamlNode::Kind::kNull) return Violate(root, "", "is empty");
    ReadMap(root, "", input_.spec, input_.title);
    for (const char* name : {"display_name", "labels"}) input_.given.erase(name);  // are not of the spec
  }

 private:
  template <HasOptions... Specs>
  void ReadMap(const YamlNode& node, const std::string& path, Specs&... specs) {
    if (node.kind == YamlNode::Kind::kNull) return;  // a heading without fields
    if (node.kind != YamlNode::Kind::kMap) return Violate(node, path, "must have fields, as NAME: VALUE");
    std::vector<std::string> names;
    auto visit = [&](const OptionInfo& option, auto& value) {
      names.emplace_back(option.name);
      for (const YamlEntry& entry : node.entries) {
        if (entry.key.text == option.name) ReadValue(entry.value, option, Below(path, option.name), value);
      }
    };
    (VisitOptions(specs, visit), ...);
    RefuseUnknown(node, path, names);
  }

  void RefuseUnknown(const YamlNode& node, const std::string& path, const std::vector<std::string>& names) {
    for (const YamlEntry& entry : node.entries) {
      if (std::find(names.begin(), names.end(), entry.key.text) != names.end()) continue;
      const std::string nearest = NearestName(entry.key.text, names);
      Violate(entry.key, Below(path, CutText(OneLine(entry.key.text), 80)),
              nearest.empty() ? absl::StrCat("is unknown; known are ", absl::StrJoin(names, ", "))
                              : absl::StrCat("is unknown; did you mean ", nearest, "?"));
    }
  }

  template <typename T>
  void ReadValue(const YamlNode& node, const OptionInfo& option, const std::string& path, T& value) {
    if constexpr (kIsOptional<T>) {
      ReadValue(node, option, path, value.emplace());
    } else if constexpr (std::same_as<T, Digest>) {
      Give(node, path);
      ReadMap(node, path, value);
    } else if constexpr (HasOptions<T>) {
      ReadMap(node, path, value);
    } else {
      Give(node, path);
      ReadScalar(node, option, path, value);
    }
  }

  template <typename T>
  void ReadValue(const YamlNode& node, const OptionInfo& option, const std::string& path,
                 std::vector<T>& values) {
    Give(node, path);
    if (node.kind != YamlNode::Kind::kList) return Violate(node, path, "must be a list");
    for (size_t i = 0; i < node.items.size(); ++i) {
      const std::string item = absl::StrCat(path, "[", i, "]");
      if constexpr (HasOptions<T>) {
        ReadMap(node.items[i], item, values.emplace_back());
      } else {
        ReadScalar(node.items[i], option, item, values.emplace_back());
      }
    }
  }

  void ReadValue(const YamlNode& node, const OptionInfo& option, const std::string& path, Strings& values) {
    Give(node, path);
    if (node.kind != YamlNode::Kind::kMap) return Violate(node, path, "must have fields, as NAME: VALUE");
    for (const YamlEntry& entry : node.entries) {
      ReadScalar(entry.value, option, absl::StrCat(path, "[", entry.key.text, "]"), values[entry.key.text]);
    }
  }

  template <typename T>
  void ReadScalar(const YamlNode& node, const OptionInfo& option, const std::string& path, T& value) {
    if (node.kind == YamlNode::Kind::kNull) return Violate(node, path, "has no value");
    if (node.kind != YamlNode::Kind::kScalar) return Violate(node, path, "must be one value");
    const std::string problem = TakeText(option, node.text, value);
    if (!problem.empty()) Violate(node, path, problem);
    if constexpr (std::same_as<T, std::string>) {
      const bool names_file = option.typed == Typed::kAsFile || option.group == HelpGroup::kModel;
      if (names_file) value = AbsolutePath(value, folder_);
    }
  }

  // Items of lists are given with their list.
  void Give(const YamlNode& node, const std::string& path) {
    if (!absl::StrContains(path, '[')) input_.given[path] = PlaceOf(name_, node);
  }
  void Violate(const YamlNode& node, const std::string& path, const std::string& problem) {
    violations_.push_back({PlaceOf(name_, node), path.empty() ? problem : absl::StrCat(path, " ", problem)});
  }

  const std::string name_, folder_;
  SpecInput& input_;
  std::vector<FieldViolation>& violations_;
};

// Where relative paths of the file start: a pipe and a descriptor (/dev/fd/63) are nowhere, so there it is
// the current folder.
std::string FolderOf(const std::string& path) {
  const bool nowhere = absl::StartsWith(path, "/dev/") || absl::StartsWith(path, "/proc/");
  return !nowhere && CanBeReadAgain(path) ? fs::path(path).parent_path().string() : "";
}

class FileWriter {
 public:
  FileWriter(YAML::Emitter& out, const GivenFields* given) : out_(out), given_(given) {}

  void Write(const SpecInput& input) {
    out_ << YAML::BeginMap;
    auto visit = [&](const OptionInfo& option, const auto& value) {
      if (!value.empty()) WriteEntry(option.name, value, option.name);
    };
    VisitOptions(input.title, visit);
    WriteFields(input.spec, "");
    out_ << YAML::EndMap;
  }

 private:
  template <HasOptions Spec>
  void WriteMap(const Spec& spec, const std::string& path) {
    out_ << YAML::BeginMap;
    WriteFields(spec, path);
    out_ << YAML::EndMap;
  }

  template <HasOptions Spec>
  void WriteFields(const Spec& spec, const std::string& path) {
    auto visit = [&](const OptionInfo& option, const auto& value) {
      const std::string below = Below(path, option.name);
      if (IsGiven(below)) WriteEntry(option.name, value, below);
    };
    VisitOptions(spec, visit);
  }

  bool IsGiven(const std::string& path) const {
    if (given_ == nullptr) return true;
    const auto found = given_->lower_bound(path);
    return found != given_->end() && (found->first == path || absl::StartsWith(found->first, path + "."));
  }

  template <typename T>
  void WriteEntry(const char* name, const T& value, const std::string& path) {
    if constexpr (kIsOptional<T>) {
      if (value) WriteEntry(name, *value, path);
    } else {
      // Members of an item that say nothing.
      if (given_ == nullptr && value == T{}) return;
      out_ << YAML::Key << name << YAML::Value;
      WriteValue(value, path);
    }
  }

  template <typename T>
  void WriteValue(const T& value, const std::string& path) {
    if constexpr (std::same_as<T, Digest>) {
      FileWriter(out_, nullptr).WriteMap(value, path);
    } else if constexpr (HasOptions<T>) {
      WriteMap(value, path);
    } else if constexpr (NamedChoice<T>) {
      out_ << std::string(ChoiceName(value));
    } else if constexpr (std::same_as<T, double>) {
      out_ << ShortestText(value);
    } else if constexpr (std::same_as<T, std::string>) {
      out_ << YAML::DoubleQuoted << value;
    } else {
      out_ << value;
    }
  }
  void WriteValue(const Strings& values, const std::string&) {
    out_ << YAML::BeginMap;
    for (const auto& [key, value] : values)
      out_ << YAML::Key << YAML::DoubleQuoted << key << YAML::Value << YAML::DoubleQuoted << value;
    out_ << YAML::EndMap;
  }
  template <typename T>
  void WriteValue(const std::vector<T>& values, const std::string& path) {
    if constexpr (!HasOptions<T>) out_ << YAML::Flow;
    out_ << YAML::BeginSeq;
    for (const T& value : values) {
      if constexpr (HasOptions<T>) {
        FileWriter(out_, nullptr).WriteMap(value, path);
      } else {
        WriteValue(value, path);
      }
    }
    out_ << YAML::EndSeq;
  }

  YAML::Emitter& out_;
  const GivenFields* const given_;
};

}  // namespace

void ReadJobFile(const std::string& path, SpecInput& input, std::vector<FieldViolation>& violations) {
  const std::string name = path == "-" ? "standard input" : path;
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxYamlBytes);
  if (!text.ok())
    return violations.push_back(GetErrorInfo(NameFlag("--file", text.status())).violations.front());
  const absl::StatusOr<YamlNode> root = ParseYaml(*text, name);
  if (!root.ok()) {
    const std::vector<FieldViolation> found = GetErrorInfo(root.status()).violations;
    violations.insert(violations.end(), found.begin(), found.end());
    return;
  }
  FileReader(name, FolderOf(path), input, violations).Read(*root);
}

std::string JobFileText(const SpecInput& input) {
  YAML::Emitter out;
  FileWriter(out, &input.given).Write(input);
  return absl::StrCat(out.c_str(), "\n");
}

std::string AbsolutePath(const std::string& path, const std::string& folder) {
  if (path.empty() || absl::StrContains(path, "://")) return path;
  const fs::path base = folder.empty() ? fs::current_path() : fs::absolute(folder);
  std::string absolute = (base / path).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

}  // namespace quantmoe::cli
