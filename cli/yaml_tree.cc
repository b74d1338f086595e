#include "cli/yaml_tree.h"

#include <algorithm>
#include <exception>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "base/error_info.h"
#include "base/text.h"

namespace quantmoe::cli {
namespace {

// Of a specification with hundreds of rules.
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxNodes = 20'000;
constexpr size_t kMaxScalarBytes = 4096;

// What leaves the parser when the text is refused.
struct Refusal : std::exception {
  Refusal(int at_line, int at_column, std::string why)
      : line(at_line), column(at_column), problem(std::move(why)) {}
  const char* what() const noexcept override { return problem.c_str(); }
  int line, column;
  std::string problem;
};

[[noreturn]] void Refuse(const YAML::Mark& mark, std::string problem) {
  throw Refusal(mark.line + 1, mark.column + 1, std::move(problem));
}

// A list or map that is not complete yet.
struct Open {
  YamlNode node;
  bool has_key = false;
  YamlNode key;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  bool done() const { return done_; }
  YamlNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override { done_ = true; }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Place(mark, Make(YamlNode::Kind::kNull, mark, "", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "aliases are not taken here");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = Make(YamlNode::Kind::kScalar, mark, tag, anchor);
    if (value.size() > kMaxScalarBytes) {
      Refuse(mark,
             absl::StrCat("a value has ", value.size(), " bytes, at most ", kMaxScalarBytes, " are taken"));
    }
    node.text = value;
    Place(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Enter(mark, Make(YamlNode::Kind::kList, mark, tag, anchor));
  }
  void OnSequenceEnd() override { Leave(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Enter(mark, Make(YamlNode::Kind::kMap, mark, tag, anchor));
  }
  void OnMapEnd() override { Leave(); }

 private:
  YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (++nodes_ > kMaxNodes) Refuse(mark, absl::StrCat("more than ", kMaxNodes, " values"));
    if (anchor != YAML::NullAnchor) Refuse(mark, "anchors are not taken here");
    // "?" is none, "!" says that the text was quoted.
    if (!tag.empty() && tag != "?" && tag != "!") Refuse(mark, "tags are not taken here");
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  void Enter(const YAML::Mark& mark, YamlNode node) {
    if (open_.size() == kMaxDepth) Refuse(mark, absl::StrCat("nested deeper than ", kMaxDepth, " levels"));
    open_.push_back({std::move(node), false, {}});
  }
  void Leave() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    Place({}, std::move(node));
  }

  void Place(const YAML::Mark& mark, YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    // The parser sees that a value is missing at whatever comes next.
    if (node.kind == YamlNode::Kind::kNull && parent.has_key && node.line > parent.key.line) {
      node.line = parent.key.line;
      node.column = parent.key.column + static_cast<int>(parent.key.text.size()) + 1;
    }
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.has_key) {
      parent.node.entries.push_back({std::move(parent.key), std::move(node)});
      parent.has_key = false;
    } else {
      TakeKey(mark, parent, std::move(node));
    }
  }

  static void TakeKey(const YAML::Mark& mark, Open& parent, YamlNode key) {
    if (key.kind != YamlNode::Kind::kScalar) throw Refusal(key.line, key.column, "a key must be a text");
    for (const YamlEntry& entry : parent.node.entries) {
      if (entry.key.text != key.text) continue;
      Refuse(mark,
             absl::StrCat("the key ", OneLine(key.text), " is here twice, first in line ", entry.key.line));
    }
    parent.key = std::move(key);
    parent.has_key = true;
  }

  std::vector<Open> open_;
  YamlNode root_;
  size_t nodes_ = 0;
  bool done_ = false;
};

// Control characters would make the parser guess another encoding.
void CheckBytes(absl::string_view text) {
  if (text.size() > static_cast<size_t>(kMaxYamlBytes)) {
    throw Refusal(1, 1, absl::StrCat("has ", text.size(), " bytes, at most ", kMaxYamlBytes, " are taken"));
  }
  int line = 1, column = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = Utf8CharacterBytes(text.substr(at));
    if (bytes == 0) throw Refusal(line, column, "is not UTF-8");
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool blank = byte == '\t' || byte == '\n' || byte == '\r';
    if (byte < 0x20 && !blank) throw Refusal(line, column, "holds a control character");
    if (byte == '\n') {
      ++line;
      column = 0;
    }
    column += static_cast<int>(bytes);
    at += bytes;
  }
}

YamlNode Parse(absl::string_view text) {
  CheckBytes(text);
  std::istringstream stream{std::string(text)};
  YAML::Parser parser(stream);
  TreeBuilder builder;
  if (!parser.HandleNextDocument(builder)) return {};
  TreeBuilder second;
  if (parser.HandleNextDocument(second)) throw Refusal(1, 1, "holds more than one document");
  return builder.TakeRoot();
}

}  // namespace

absl::StatusOr<YamlNode> ParseYaml(absl::string_view text, absl::string_view name) {
  const auto refused = [&](int line, int column, absl::string_view problem) {
    return InvalidFields({{absl::StrCat(name, ":", line, ":", column), OneLine(problem)}});
  };
  try {
    return Parse(text);
  } catch (const Refusal& refusal) {
    return refused(refusal.line, refusal.column, refusal.problem);
  } catch (const YAML::Exception& error) {
    return refused(std::max(0, error.mark.line) + 1, std::max(0, error.mark.column) + 1, error.msg);
  }
}

std::string PlaceOf(absl::string_view name, const YamlNode& node) {
  return absl::StrCat(name, ":", node.line, ":", node.column);
}

}  // namespace quantmoe::cli
