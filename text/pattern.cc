#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include <pcre2.h>

#include "base/status_macros.h"
#include "text/newer_unicode.h"
#include "text/oniguruma.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

// Backtracking steps for one place where a match may begin: far above what an expression needs that reads
// each byte a few times, far below what one that explodes would take.
constexpr uint32_t kFewestSteps = 10'000'000;
constexpr uint32_t kStepsPerByte = 64;
// Many places that each stay below that limit: places and matches between two looks at the clock.
constexpr size_t kPlacesAtATime = 1024;
constexpr uint32_t kSearchesAtATime = 64;
constexpr uint32_t kHeapKib = 1 << 20;
constexpr int64_t kLargestGrowth = 64;  // of a text by ReplaceAll, above kFreeGrowth
constexpr int64_t kFreeGrowth = 1 << 20;

// Of this thread: what others do on the machine does not count.
absl::Duration ProcessorTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

// One per thread: match data and JIT stack are cheap to keep and dear to make, and may not be shared.
struct MatchScratch {
  MatchScratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, 8 * 1024 * 1024, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_depth_limit(context, UINT32_MAX);
    pcre2_set_heap_limit(context, kHeapKib);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  bool TimeIsUp() const { return ProcessorTime() > deadline; }
  // The same behind a match, where a look at the clock each time would cost more than the search.
  bool MatchesTakeTooLong() { return ++searches % kSearchesAtATime == 0 && TimeIsUp(); }

  pcre2_match_data* data;
  pcre2_match_context* context;
  uint32_t searches = 0;
  absl::Duration deadline = absl::InfiniteDuration();
  pcre2_jit_stack* stack;
};

MatchScratch& ThreadScratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

}  // namespace

struct Pattern::Compiled {
  Compiled(pcre2_code* c, std::string_view written)
      : expression(written), code(c), jit(pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0) {}
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  // Whether there is a match at or behind `from`; its bounds are in the scratch's ovector.
  absl::StatusOr<bool> Find(std::string_view text, size_t from, MatchScratch& scratch) const {
    while (true) {
      const size_t last = std::min(from + kPlacesAtATime, text.size());
      pcre2_set_offset_limit(scratch.context, last);
      const int rc = FindUpTo(text, from, scratch);
      if (rc >= 0) return true;
      if (rc != PCRE2_ERROR_NOMATCH) return Failure(rc, from, text.size());
      if (last == text.size()) return false;
      if (scratch.TimeIsUp()) return Failure(PCRE2_ERROR_MATCHLIMIT, from, text.size());
      from = last;
      while (from < text.size() && (text[from] & 0xC0) == 0x80) ++from;
    }
  }

  int FindUpTo(std::string_view text, size_t from, MatchScratch& scratch) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int rc = PCRE2_ERROR_JIT_BADOPTION;
    if (jit) rc = pcre2_jit_match(code, subject, text.size(), from, 0, scratch.data, scratch.context);
    // No JIT here, or its stack was too small: the interpreter uses the heap.
    if (rc == PCRE2_ERROR_JIT_BADOPTION || rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data,
                       scratch.context);
    }
    return rc;
  }

  absl::Status Failure(int error, size_t from, size_t size) const {
    PCRE2_UCHAR message[256] = {0};
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::ResourceExhaustedError(absl::StrCat("regular expression '", expression,
                                                     "': ", reinterpret_cast<const char*>(message),
                                                     " at byte ", from, " of ", size));
  }

  std::string expression;
  pcre2_code* code;
  bool jit;
};

SearchBudget::SearchBudget(absl::Duration time) : previous_(ThreadScratch().deadline) {
  ThreadScratch().deadline = ProcessorTime() + time;
}

SearchBudget::~SearchBudget() { ThreadScratch().deadline = previous_; }

absl::StatusOr<Pattern> Pattern::Regex(std::string_view expression) {
  ASSIGN_OR_RETURN(const std::string spelled, TranslateOniguruma(expression));
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Oniguruma's default syntax is Ruby's, where ^ and $ stand for lines.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT, &error,
                                   &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[256] = {0};
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression: ", reinterpret_cast<const char*>(message), " at byte ", offset));
  }
  Pattern pattern;
  pattern.compiled_ = std::make_shared<const Compiled>(code, expression);
  return pattern;
}

Pattern Pattern::Literal(std::string_view text) {
  Pattern pattern;
  pattern.literal_ = std::string(text);
  return pattern;
}

absl::Status Pattern::ForEachRegexMatch(std::string_view text,
                                        absl::FunctionRef<void(size_t, size_t)> found) const {
  std::optional<std::string> older;
  if (!IsAscii(text)) older = WithOlderCodePoints(text);
  if (older) text = *older;
  MatchScratch& scratch = ThreadScratch();
  pcre2_set_match_limit(scratch.context, static_cast<uint32_t>(std::min<uint64_t>(
                                             kFewestSteps + text.size() * kStepsPerByte, UINT32_MAX)));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data);
  for (size_t from = 0; from <= text.size();) {
    ASSIGN_OR_RETURN(const bool matches, compiled_->Find(text, from, scratch));
    if (!matches) break;
    if (scratch.MatchesTakeTooLong()) return compiled_->Failure(PCRE2_ERROR_MATCHLIMIT, from, text.size());
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
  return absl::OkStatus();
}

absl::Status Pattern::ForEachMatch(std::string_view text,
                                   absl::FunctionRef<void(size_t, size_t)> found) const {
  if (compiled_ != nullptr) return ForEachRegexMatch(text, found);
  if (literal_.empty()) return absl::OkStatus();
  for (size_t from = text.find(literal_); from != std::string_view::npos;) {
    found(from, from + literal_.size());
    from = text.find(literal_, from + literal_.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Pattern::ReplaceAll(std::string_view text, std::string_view replacement) const {
  const size_t largest = text.size() * kLargestGrowth + kFreeGrowth;
  std::string out;
  size_t copied = 0;
  RETURN_IF_ERROR(ForEachMatch(text, [&](size_t begin, size_t end) {
    if (out.size() <= largest) out.append(text.substr(copied, begin - copied)).append(replacement);
    copied = end;
  }));
  if (out.size() > largest) {
    return absl::ResourceExhaustedError(
        absl::StrCat("replacing in a text of ", text.size(), " bytes gives more than ", largest, " bytes"));
  }
  return out.append(text.substr(copied));
}

}  // namespace quantmoe
