#include "text/oniguruma.h"

#include <cctype>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <unicode/uchar.h>

#include "base/status_macros.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

// Members of character classes, in PCRE2's syntax inside of brackets.
constexpr char kSpace[] =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr char kNoSpace[] =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr char kWord[] = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr char kHex[] = "0-9A-Fa-f";
constexpr int kDeepest = 100;  // nested brackets and groups

struct NamedSet {
  std::string_view name;
  const char* members;
};
constexpr NamedSet kPosixSets[] = {{"alpha", R"(\p{Alphabetic})"},
                                   {"alnum", R"(\p{Alphabetic}\p{Nd})"},
                                   {"blank", R"(\p{Zs}\t)"},
                                   {"cntrl", R"(\p{Cc})"},
                                   {"digit", R"(\p{Nd})"},
                                   {"lower", R"(\p{Lowercase})"},
                                   {"punct", R"(\p{P}$+<=>^`|~)"},
                                   {"space", kSpace},
                                   {"upper", R"(\p{Uppercase})"},
                                   {"xdigit", kHex},
                                   {"word", kWord}};

const char* FindPosixSet(std::string_view name) {
  for (const NamedSet& set : kPosixSets) {
    if (set.name == name) return set.members;
  }
  return nullptr;
}

absl::Status Unknown(std::string_view construct) {
  return absl::UnimplementedError(absl::StrCat(
      "regular expression: '", absl::string_view(construct.data(), construct.size()), "' is not supported"));
}

class Translator {
 public:
  explicit Translator(std::string_view expression) : text_(expression) {}

  absl::StatusOr<std::string> Run() {
    groups_.push_back({0, 0});
    while (i_ < text_.size()) RETURN_IF_ERROR(Next());
    out_.append(groups_.back().flag_groups, ')');
    return std::move(out_);
  }

 private:
  struct Group {
    size_t begin;     // in out_
    int flag_groups;  // groups opened for (?i) without a body, which ends where this group ends
  };

  char Peek(size_t ahead = 0) const { return i_ + ahead < text_.size() ? text_[i_ + ahead] : '\0'; }
  bool Sees(std::string_view what) const { return text_.substr(i_).starts_with(what); }

  absl::Status Next() {
    switch (Peek()) {
      case '\\':
        atom_ = out_.size();
        return Escape();
      case '[': {
        atom_ = out_.size();
        ++i_;
        ASSIGN_OR_RETURN(const std::string set, Class(0));
        out_ += set;
        return absl::OkStatus();
      }
      case '(':
        return OpenGroup();
      case ')':
        CloseGroup();
        return absl::OkStatus();
      case '{':
        return Interval();
      case '*':
      case '+':
      case '?':
      case '|':
        out_ += text_[i_++];
        return absl::OkStatus();
    }
    atom_ = out_.size();
    CopyCodePoint(out_);
    return absl::OkStatus();
  }

  void CopyCodePoint(std::string& out) {
    const size_t begin = i_;
    NextCodePoint(text_, i_);
    out += text_.substr(begin, i_ - begin);
  }

  // Behind "\p" or "\P": the property in braces. A script is meant without its extensions.
  absl::StatusOr<std::string> Property() {
    const size_t end = text_.find('}', i_);
    if (Peek() != '{' || end == std::string_view::npos) return Unknown("\\p without {name}");
    std::string name(text_.substr(i_ + 1, end - i_ - 1));
    i_ = end + 1;
    const bool negated = name.starts_with('^');
    if (negated) name.erase(0, 1);
    const bool category = u_getPropertyValueEnum(UCHAR_GENERAL_CATEGORY_MASK, name.c_str()) >= 0;
    const bool script = u_getPropertyValueEnum(UCHAR_SCRIPT, name.c_str()) >= 0;
    if (!category && script) name.insert(0, "sc:");
    return absl::StrCat("{", negated ? "^" : "", name, "}");
  }

  // What an escape that is one character or property means to PCRE2, i_ behind its letter.
  absl::StatusOr<std::string> PlainEscape(char letter) {
    if (letter == 'p' || letter == 'P') {
      ASSIGN_OR_RETURN(const std::string property, Property());
      return absl::StrCat("\\", std::string(1, letter), property);
    }
    if (letter == 'v') return "\\x{b}";
    if (letter == 'u') {
      const std::string digits(text_.substr(i_, 4));
      i_ += digits.size();
      return absl::StrCat("\\x{", digits, "}");
    }
    if (letter == 'x' && Peek() == '{') {
      const size_t end = std::min(text_.find('}', i_), text_.size() - 1) + 1;
      const std::string code(text_.substr(i_, end - i_));
      i_ = end;
      return "\\x" + code;
    }
    const bool is_letter = std::isalpha(static_cast<unsigned char>(letter)) != 0;
    if (is_letter && std::string_view("dDxnrtfaeb").find(letter) == std::string_view::npos)
      return Unknown(std::string("\\") + letter);
    return std::string("\\") + letter;
  }

  // Members of \s, \w, \h or of their opposites; null for other letters.
  static const char* Members(char lower_letter) {
    return lower_letter == 's' ? kSpace : lower_letter == 'w' ? kWord : lower_letter == 'h' ? kHex : nullptr;
  }

  absl::Status Escape() {
    const char letter = Peek(1);
    const size_t begin = i_++;
    if (static_cast<unsigned char>(letter) >= 0x80) {  // a character that needs no escape
      CopyCodePoint(out_);
      return absl::OkStatus();
    }
    ++i_;
    const char lower = static_cast<char>(std::tolower(letter));
    if (const char* members = Members(lower)) {
      absl::StrAppend(&out_, letter == lower ? "[" : "[^", members, "]");
    } else if (lower == 'b') {
      const std::string border =
          absl::StrCat("(?<![", kWord, "])(?=[", kWord, "])|(?<=[", kWord, "])(?![", kWord, "])");
      absl::StrAppend(&out_, letter == 'b' ? "(?:" : "(?!", border, ")");
    } else if (letter == 'k' && Peek() == '<') {
      const size_t end = std::min(text_.find('>', i_), text_.size() - 1) + 1;
      out_ += text_.substr(begin, end - begin);
      i_ = end;
    } else if (std::string_view("AZzKRX").find(letter) != std::string_view::npos) {
      out_ += {'\\', letter};
    } else {
      ASSIGN_OR_RETURN(const std::string escape, PlainEscape(letter));
      out_ += escape;
    }
    return absl::OkStatus();
  }

  absl::Status OpenGroup() {
    if (groups_.size() > kDeepest) return Unknown("more than 100 nested groups");
    const size_t begin = out_.size();
    out_ += '(';
    ++i_;
    groups_.push_back({begin, 0});
    if (Peek() != '?') return absl::OkStatus();
    if (std::string_view(":=!>").find(Peek(1)) != std::string_view::npos && Peek(1) != '\0') {
      out_ += {'?', Peek(1)};
      i_ += 2;
      return absl::OkStatus();
    }
    if (Peek(1) == '<') {  // a lookbehind or a name
      const size_t end =
          Peek(2) == '=' || Peek(2) == '!' ? i_ + 3 : std::min(text_.find('>', i_), text_.size() - 1) + 1;
      out_ += text_.substr(i_, end - i_);
      i_ = end;
      return absl::OkStatus();
    }
    return Flags();
  }

  // Behind "(": "?i:" and the like. Ruby's m is Perl's s. Flags without a body hold up to the end of the
  // group, also across "|".
  absl::Status Flags() {
    const size_t end = text_.find_first_of(":)", i_);
    if (end == std::string_view::npos) return Unknown(text_.substr(i_));
    std::string flags;
    for (const char flag : text_.substr(i_ + 1, end - i_ - 1)) {
      if (std::string_view("im-").find(flag) == std::string_view::npos)
        return Unknown(absl::StrCat("(", std::string(text_.substr(i_, end - i_))));
      flags += flag == 'm' ? 's' : flag;
    }
    absl::StrAppend(&out_, "?", flags, ":");
    if (text_[end] == ')') {
      groups_.pop_back();
      ++groups_.back().flag_groups;
    }
    i_ = end + 1;
    return absl::OkStatus();
  }

  void CloseGroup() {
    ++i_;
    if (groups_.size() == 1) {  // PCRE2 reports it
      out_ += ')';
      return;
    }
    out_.append(groups_.back().flag_groups + 1, ')');
    atom_ = groups_.back().begin;
    groups_.pop_back();
  }

  // "{n}", "{n,}", "{n,m}" and "{,m}"; anything else is a brace. A "+" behind repeats the interval, and a "?"
  // behind "{n}" makes it optional.
  absl::Status Interval() {
    const size_t end = text_.find('}', i_);
    const std::string body(end == std::string_view::npos ? "" : text_.substr(i_ + 1, end - i_ - 1));
    const bool is_interval = body.find_first_not_of("0123456789,") == std::string::npos && body != "," &&
                             !body.empty() && body.find(',') == body.rfind(',');
    if (!is_interval) {
      atom_ = out_.size();
      out_ += "\\{";
      ++i_;
      return absl::OkStatus();
    }
    i_ = end + 1;
    absl::StrAppend(&out_, "{", body.starts_with(',') ? "0" : "", body, "}");
    const bool fixed = body.find(',') == std::string::npos;
    if (Peek() != '+' && !(Peek() == '?' && fixed)) return absl::OkStatus();
    out_.insert(atom_, "(?:");
    out_ += ')';
    return absl::OkStatus();
  }

  // A set between two "&&": members that PCRE2 can have inside of one pair of brackets, and sets beside them.
  struct Operand {
    std::string members;
    std::vector<std::string> sets;

    std::string Union() const {
      if (sets.empty()) return absl::StrCat("[", members, "]");
      const std::string rest = absl::StrJoin(sets, "|");
      return absl::StrCat("(?:", members.empty() ? "" : absl::StrCat("[", members, "]|"), rest, ")");
    }
  };

  // An expression for one code point; i_ is behind "[" and moves behind "]".
  absl::StatusOr<std::string> Class(int depth) {
    if (depth > kDeepest) return Unknown("more than 100 nested brackets");
    const bool negated = Peek() == '^';
    if (negated) ++i_;
    std::vector<Operand> operands(1);
    for (bool first = true; i_ < text_.size(); first = false) {
      if (Peek() == ']' && !first) {
        ++i_;
        return Combine(operands, negated);
      }
      if (Sees("&&")) {
        i_ += 2;
        operands.emplace_back();
      } else {
        RETURN_IF_ERROR(Member(operands.back(), depth));
      }
    }
    return absl::InvalidArgumentError("regular expression: missing terminating ] for character class");
  }

  static std::string Combine(const std::vector<Operand>& operands, bool negated) {
    if (operands.size() == 1 && operands[0].sets.empty())
      return absl::StrCat(negated ? "[^" : "[", operands[0].members, "]");
    std::string set;
    for (size_t i = 0; i < operands.size(); ++i) {
      const std::string operand = operands[i].Union();
      set += i + 1 < operands.size() ? absl::StrCat("(?=", operand, ")") : operand;
    }
    return negated ? absl::StrCat("(?:(?!", set, ")(?s:.))") : absl::StrCat("(?:", set, ")");
  }

  absl::Status Member(Operand& operand, int depth) {
    if (Sees("[:") && text_.find(":]", i_) != std::string_view::npos) return PosixMember(operand);
    if (Peek() == '[') {
      ++i_;
      ASSIGN_OR_RETURN(std::string set, Class(depth + 1));
      operand.sets.push_back(std::move(set));
      return absl::OkStatus();
    }
    if (Peek() == '\\') return EscapedMember(operand);
    CopyCodePoint(operand.members);
    return absl::OkStatus();
  }

  absl::Status PosixMember(Operand& operand) {
    const size_t end = text_.find(":]", i_);
    const std::string_view whole = text_.substr(i_, end + 2 - i_);
    const bool negated = Peek(2) == '^';
    const char* members = FindPosixSet(text_.substr(i_ + 2 + negated, end - i_ - 2 - negated));
    if (members == nullptr) return Unknown(whole);
    i_ = end + 2;
    if (negated) {
      operand.sets.push_back(absl::StrCat("[^", members, "]"));
    } else {
      operand.members += members;
      HoldDash(operand);
    }
    return absl::OkStatus();
  }

  // A "-" behind a set of characters is only a dash.
  void HoldDash(Operand& operand) {
    if (Peek() != '-' || Peek(1) == ']') return;
    operand.members += "\\-";
    ++i_;
  }

  absl::Status EscapedMember(Operand& operand) {
    const char letter = Peek(1);
    ++i_;
    if (static_cast<unsigned char>(letter) >= 0x80) {
      CopyCodePoint(operand.members);
      return absl::OkStatus();
    }
    ++i_;
    const char lower = static_cast<char>(std::tolower(letter));
    if (const char* members = Members(lower)) {
      if (letter == 'S') {
        operand.members += kNoSpace;
      } else if (letter == lower) {
        operand.members += members;
      } else {
        operand.sets.push_back(absl::StrCat("[^", members, "]"));
      }
      HoldDash(operand);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::string escape, PlainEscape(letter));
    operand.members += escape;
    return absl::OkStatus();
  }

  std::string_view text_;
  size_t i_ = 0;
  std::string out_;
  size_t atom_ = 0;  // begin in out_ of what a quantifier repeats
  std::vector<Group> groups_;
};

}  // namespace

absl::StatusOr<std::string> TranslateOniguruma(std::string_view expression) {
  return Translator(expression).Run();
}

}  // namespace quantmoe
