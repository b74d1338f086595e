#include "quant/text/pre_tokenizer.h"

#include <algorithm>

#include "quant/text/unicode.h"

namespace quantmoe {

const char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

struct Span {
  size_t begin;
  size_t end;
  bool matched;
};

// Spans that cover `text`; `matched` is already inverted where the step says so.
std::vector<Span> Cover(const SplitStep& step, std::string_view text) {
  std::vector<Span> spans;
  size_t covered = 0;
  step.pattern.ForEachMatch(text, [&](size_t begin, size_t end) {
    if (covered != begin) spans.push_back({covered, begin, step.invert});
    spans.push_back({begin, end, !step.invert});
    covered = end;
  });
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

  void Emit(std::string_view text, size_t begin, size_t end) const {
    if (begin < end) owner.Run(next, text.substr(begin, end - begin), at_text_start && begin == 0, sink);
  }

  // By far the most frequent behaviour: no list of spans.
  void Isolate(const SplitStep& step) const {
    size_t covered = 0;
    step.pattern.ForEachMatch(piece, [&](size_t begin, size_t end) {
      Emit(piece, covered, begin);
      Emit(piece, begin, end);
      covered = end;
    });
    Emit(piece, covered, piece.size());
  }

  void operator()(const SplitStep& step) const {
    if (step.behavior == SplitBehavior::kIsolated) return Isolate(step);
    for (const Span& span : Join(step.behavior, Cover(step, piece))) Emit(piece, span.begin, span.end);
  }

  void operator()(const DigitsStep& step) const {
    size_t begin = 0;
    bool was_number = false;
    for (size_t i = 0; i < piece.size();) {
      const size_t at = i;
      const bool is_number = IsNumber(NextCodePoint(piece, i));
      if (is_number != was_number || (is_number && step.individual)) {
        Emit(piece, begin, at);
        begin = at;
      }
      was_number = is_number;
    }
    Emit(piece, begin, piece.size());
  }

  void operator()(const MetaspaceStep& step) const {
    std::string text = Pattern::Literal(" ").ReplaceAll(piece, step.replacement);
    const bool wanted =
        step.prepend == PrependScheme::kAlways || (step.prepend == PrependScheme::kFirst && at_text_start);
    if (wanted && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
    if (!step.split) return Emit(text, 0, text.size());
    const SplitStep split{Pattern::Literal(step.replacement), SplitBehavior::kMergedWithNext, false};
    for (const Span& span : Join(split.behavior, Cover(split, text))) Emit(text, span.begin, span.end);
  }

  void operator()(const PrefixSpaceStep&) const {
    if (piece.starts_with(' ')) return Emit(piece, 0, piece.size());
    const std::string text = ' ' + std::string(piece);
    Emit(text, 0, text.size());
  }
};

void PreTokenizer::Run(size_t step, std::string_view piece, bool at_text_start, Sink sink) const {
  if (piece.empty()) return;
  if (step == steps_.size()) return sink(piece);
  std::visit(Runner{*this, step + 1, piece, at_text_start, sink}, steps_[step]);
}

}  // namespace quantmoe
