#include "text/pre_tokenizer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "text/unicode.h"

namespace quantmoe {

const char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

struct Span {
  size_t begin;
  size_t end;
  bool matched;
};

// Spans that cover `text`; `matched` is already inverted where the step says so.
absl::StatusOr<std::vector<Span>> Cover(const SplitStep& step, std::string_view text) {
  std::vector<Span> spans;
  size_t covered = 0;
  RETURN_IF_ERROR(step.pattern.ForEachMatch(text, [&](size_t begin, size_t end) {
    if (covered != begin) spans.push_back({covered, begin, step.invert});
    spans.push_back({begin, end, !step.invert});
    covered = end;
  }));
  if (covered != text.size()) spans.push_back({covered, text.size(), step.invert});
  return spans;
}

std::vector<Span> JoinContiguous(const std::vector<Span>& spans) {
  std::vector<Span> out;
  bool previous = false;
  for (const Span& span : spans) {
    if (span.matched == previous && !out.empty()) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
    previous = span.matched;
  }
  return out;
}

// A match joins its left neighbour, unless that is a match too.
std::vector<Span> JoinWithPrevious(const std::vector<Span>& spans) {
  std::vector<Span> out;
  bool previous = false;
  for (const Span& span : spans) {
    if (span.matched && !previous && !out.empty()) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
    previous = span.matched;
  }
  return out;
}

std::vector<Span> JoinWithNext(const std::vector<Span>& spans) {
  std::vector<Span> out;
  bool next = false;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    if (span->matched && !next && !out.empty()) {
      out.back().begin = span->begin;
    } else {
      out.push_back(*span);
    }
    next = span->matched;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Span> Join(SplitBehavior behavior, std::vector<Span> spans) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.matched; });
      return spans;
    case SplitBehavior::kIsolated:
      return spans;
    case SplitBehavior::kMergedWithPrevious:
      return JoinWithPrevious(spans);
    case SplitBehavior::kMergedWithNext:
      return JoinWithNext(spans);
    case SplitBehavior::kContiguous:
      return JoinContiguous(spans);
  }
  return spans;
}

}  // namespace

struct PreTokenizer::Runner {
  const PreTokenizer& owner;
  size_t next;
  std::string_view piece;
  bool at_text_start;
  Sink sink;

  absl::Status Emit(std::string_view text, size_t begin, size_t end) const {
    if (begin >= end) return absl::OkStatus();
    return owner.Run(next, text.substr(begin, end - begin), at_text_start && begin == 0, sink);
  }

  absl::Status EmitAll(const SplitStep& step, std::string_view text) const {
    ASSIGN_OR_RETURN(std::vector<Span> spans, Cover(step, text));
    for (const Span& span : Join(step.behavior, std::move(spans)))
      RETURN_IF_ERROR(Emit(text, span.begin, span.end));
    return absl::OkStatus();
  }

  // By far the most frequent behaviour: no list of spans.
  absl::Status Isolate(const SplitStep& step) const {
    size_t covered = 0;
    absl::Status emitted;
    RETURN_IF_ERROR(step.pattern.ForEachMatch(piece, [&](size_t begin, size_t end) {
      if (emitted.ok()) emitted = Emit(piece, covered, begin);
      if (emitted.ok()) emitted = Emit(piece, begin, end);
      covered = end;
    }));
    RETURN_IF_ERROR(emitted);
    return Emit(piece, covered, piece.size());
  }

  absl::Status operator()(const SplitStep& step) const {
    return step.behavior == SplitBehavior::kIsolated ? Isolate(step) : EmitAll(step, piece);
  }

  absl::Status operator()(const DigitsStep& step) const {
    size_t begin = 0;
    bool was_number = false;
    for (size_t i = 0; i < piece.size();) {
      const size_t at = i;
      const bool is_number = IsNumber(NextCodePoint(piece, i));
      if (is_number != was_number || (is_number && step.individual)) {
        RETURN_IF_ERROR(Emit(piece, begin, at));
        begin = at;
      }
      was_number = is_number;
    }
    return Emit(piece, begin, piece.size());
  }

  absl::Status operator()(const MetaspaceStep& step) const {
    ASSIGN_OR_RETURN(std::string text, Pattern::Literal(" ").ReplaceAll(piece, step.replacement));
    const bool wanted =
        step.prepend == PrependScheme::kAlways || (step.prepend == PrependScheme::kFirst && at_text_start);
    if (wanted && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
    if (!step.split) return Emit(text, 0, text.size());
    return EmitAll({Pattern::Literal(step.replacement), SplitBehavior::kMergedWithNext, false}, text);
  }

  absl::Status operator()(const PrefixSpaceStep&) const {
    if (piece.starts_with(' ')) return Emit(piece, 0, piece.size());
    const std::string text = ' ' + std::string(piece);
    return Emit(text, 0, text.size());
  }
};

absl::Status PreTokenizer::Run(size_t step, std::string_view piece, bool at_text_start, Sink sink) const {
  if (piece.empty()) return absl::OkStatus();
  if (step == steps_.size()) {
    sink(piece);
    return absl::OkStatus();
  }
  return std::visit(Runner{*this, step + 1, piece, at_text_start, sink}, steps_[step]);
}

}  // namespace quantmoe
