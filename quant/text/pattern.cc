#include "quant/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include <pcre2.h>

#include "quant/text/unicode.h"

namespace quantmoe {
namespace {

constexpr char kWhiteSpace[] =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr char kNoWhiteSpace[] =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

// One per thread: match data and JIT stack are cheap to keep and dear to make, and may not be shared.
struct MatchScratch {
  MatchScratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, 8 * 1024 * 1024, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, UINT32_MAX);
    pcre2_set_depth_limit(context, UINT32_MAX);
    pcre2_set_heap_limit(context, UINT32_MAX);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

MatchScratch& ThreadScratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

}  // namespace

struct Pattern::Compiled {
  explicit Compiled(pcre2_code* c) : code(c), jit(pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0) {}
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  // Whether there is a match at or behind `from`; its bounds are in the scratch's ovector.
  bool Find(std::string_view text, size_t from, MatchScratch& scratch) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int rc = PCRE2_ERROR_JIT_BADOPTION;
    if (jit) rc = pcre2_jit_match(code, subject, text.size(), from, 0, scratch.data, scratch.context);
    if (rc < 0 &&
        rc != PCRE2_ERROR_NOMATCH) {  // no JIT here, or its stack was too small: the interpreter has no limit
      rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data,
                       scratch.context);
    }
    return rc >= 0;
  }

  pcre2_code* code;
  bool jit;
};

std::string SpellOutWhiteSpace(std::string_view expression) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char escaped = expression[++i];
      if (escaped == 's' || escaped == 'S') {
        const bool negated = escaped == 'S';
        if (in_class) out += negated ? kNoWhiteSpace : kWhiteSpace;
        if (!in_class) absl::StrAppend(&out, negated ? "[^" : "[", kWhiteSpace, "]");
      } else {
        out += {c, escaped};
      }
      continue;
    }
    if (in_class && expression.substr(i, 2) == "[:") {  // a POSIX class; its "]" does not end ours
      const size_t end = std::min(expression.find(":]", i), expression.size() - 2) + 2;
      out += expression.substr(i, end - i);
      i = end - 1;
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

absl::StatusOr<Pattern> Pattern::Regex(std::string_view expression) {
  const std::string spelled = SpellOutWhiteSpace(expression);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Oniguruma's default syntax is Ruby's, where ^ and $ stand for lines.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[256] = {0};
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression: ", reinterpret_cast<const char*>(message), " at byte ", offset));
  }
  Pattern pattern;
  pattern.compiled_ = std::make_shared<const Compiled>(code);
  return pattern;
}

Pattern Pattern::Literal(std::string_view text) {
  Pattern pattern;
  pattern.literal_ = std::string(text);
  return pattern;
}

void Pattern::ForEachRegexMatch(std::string_view text, absl::FunctionRef<void(size_t, size_t)> found) const {
  MatchScratch& scratch = ThreadScratch();
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data);
  for (size_t from = 0; from <= text.size() && compiled_->Find(text, from, scratch);) {
    const size_t begin = bounds[0];
    const size_t end = bounds[1];
    from = end;
    if (begin == end) {  // an empty match: search on behind the next code point
      if (from < text.size()) {
        NextCodePoint(text, from);
      } else {
        ++from;
      }
    }
    found(begin, end);
  }
}

void Pattern::ForEachMatch(std::string_view text, absl::FunctionRef<void(size_t, size_t)> found) const {
  if (compiled_ != nullptr) return ForEachRegexMatch(text, found);
  if (literal_.empty()) return;
  for (size_t from = text.find(literal_); from != std::string_view::npos;) {
    found(from, from + literal_.size());
    from = text.find(literal_, from + literal_.size());
  }
}

std::string Pattern::ReplaceAll(std::string_view text, std::string_view replacement) const {
  std::string out;
  size_t copied = 0;
  ForEachMatch(text, [&](size_t begin, size_t end) {
    out.append(text.substr(copied, begin - copied)).append(replacement);
    copied = end;
  });
  return out.append(text.substr(copied));
}

}  // namespace quantmoe
