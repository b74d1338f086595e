#include "quant/evaluate/prompts.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/python_strings.h"
#include "quant/evaluate/wikitext.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

const char* const kLetters[] = {"A", "B", "C", "D"};

Prompt OneContext(std::string context, const std::vector<std::string>& choices, int gold) {
  Prompt prompt;
  prompt.contexts = {std::move(context)};
  for (const std::string& choice : choices) {
    prompt.continuations.push_back(' ' + choice);
    prompt.lengths.push_back(CountCodePoints(choice));
  }
  prompt.gold = gold;
  return prompt;
}

std::string MmluQuestion(const MmluItem& item) {
  std::string text(PythonStrip(item.question));
  for (size_t i = 0; i < item.choices.size(); ++i)
    absl::StrAppend(&text, "\n", kLetters[i], ". ", item.choices[i]);
  return text + "\nAnswer:";
}

std::string MmluDescription(std::string subject) {
  std::replace(subject.begin(), subject.end(), '_', ' ');
  return absl::StrCat("The following are multiple choice questions (with answers) about ", subject, ".\n\n");
}

struct MakePrompt {
  const std::map<std::string, std::string>& introductions;  // of MMLU's subjects

  Prompt operator()(const WinograndeItem& item) const {
    const size_t blank = item.sentence.find('_');
    Prompt prompt;
    for (const std::string& option : item.options) {
      prompt.contexts.push_back(item.sentence.substr(0, blank) + option);
      prompt.lengths.push_back(CountCodePoints(prompt.contexts.back()));
    }
    prompt.continuations = {' ' +
                            std::string(PythonStrip(std::string_view(item.sentence).substr(blank + 1)))};
    prompt.gold = item.answer;
    return prompt;
  }
  Prompt operator()(const CopaItem& item) const {
    const std::string premise(DropLastCharacter(PythonStrip(item.premise)));
    // The choice begins with a space of its own, so two spaces follow the context.
    return OneContext(premise + (item.asks_cause ? " because" : " therefore"),
                      {' ' + LowercaseFirst(item.choices[0]), ' ' + LowercaseFirst(item.choices[1])},
                      item.label);
  }
  Prompt operator()(const OpenBookQaItem& item) const {
    return OneContext(item.question_stem, item.choices, item.answer);
  }
  Prompt operator()(const HellaSwagItem& item) const {
    std::vector<std::string> endings;
    for (const std::string& ending : item.endings) endings.push_back(CleanHellaSwag(ending));
    return OneContext(CleanHellaSwag(absl::StrCat(item.activity_label, ": ", item.ctx_a, " ",
                                                  PythonCapitalize(item.ctx_b))),
                      endings, item.label);
  }
  Prompt operator()(const PiqaItem& item) const {
    return OneContext(absl::StrCat("Question: ", item.goal, "\nAnswer:"),
                      {item.solutions[0], item.solutions[1]}, item.label);
  }
  Prompt operator()(const ArcItem& item) const {
    return OneContext(absl::StrCat("Question: ", item.question, "\nAnswer:"), item.choices, item.answer);
  }
  Prompt operator()(const BoolQItem& item) const {
    return OneContext(absl::StrCat(item.passage, "\nQuestion: ", item.question, "?\nAnswer:"), {"no", "yes"},
                      item.label);
  }
  Prompt operator()(const LambadaItem& item) const {
    const size_t space = item.text.rfind(' ');
    const bool one_word = space == std::string::npos;
    return OneContext(one_word ? "" : item.text.substr(0, space),
                      {one_word ? item.text : item.text.substr(space + 1)}, 0);
  }
  // Words and bytes are those of the page before it is detokenized.
  Prompt operator()(const WikiTextItem& item) const {
    Prompt prompt;
    prompt.contexts = {""};
    prompt.continuations = {DetokenizeWikiText(item.page)};
    prompt.lengths = {static_cast<int64_t>(item.page.size())};
    prompt.words = CountWikiTextWords(item.page);
    return prompt;
  }
  Prompt operator()(const MmluItem& item) const {
    Prompt prompt = OneContext(introductions.at(item.subject) + MmluQuestion(item),
                               {std::begin(kLetters), std::end(kLetters)}, item.answer);
    prompt.group = item.subject;
    return prompt;
  }
};

// Description and solved questions of every subject in `items`.
absl::StatusOr<std::map<std::string, std::string>> MmluIntroductions(
    const std::vector<BenchmarkItem>& items, const std::vector<BenchmarkItem>& shots) {
  std::map<std::string, std::string> introductions;
  for (const BenchmarkItem& item : items) {
    const std::string& subject = std::get<MmluItem>(item).subject;
    if (introductions.contains(subject)) continue;
    std::string& text = introductions[subject] = MmluDescription(subject);
    int count = 0;
    for (const BenchmarkItem& candidate : shots) {
      const auto& shot = std::get<MmluItem>(candidate);
      if (shot.subject != subject || count == kMmluShots) continue;
      absl::StrAppend(&text, MmluQuestion(shot), " ", kLetters[shot.answer], "\n\n");
      ++count;
    }
    if (!shots.empty() && count < kMmluShots) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
          absl::StrCat("few-shot data: subject '", subject, "' has ", count, " items, not ", kMmluShots),
          {{"field", "subject"}, {"subject", subject}});
    }
  }
  return introductions;
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> MakePrompts(Benchmark benchmark, const std::vector<BenchmarkItem>& items,
                                                const std::vector<BenchmarkItem>& shots) {
  std::map<std::string, std::string> introductions;
  if (benchmark == Benchmark::kMmlu) {
    ASSIGN_OR_RETURN(introductions, MmluIntroductions(items, shots));
  } else if (!shots.empty()) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "TASK_FEWSHOT_UNSUPPORTED",
        absl::StrCat(BenchmarkName(benchmark), " is scored zero-shot; only mmlu takes few-shot data"),
        {{"task", BenchmarkName(benchmark)}});
  }
  std::vector<Prompt> prompts;
  prompts.reserve(items.size());
  for (const BenchmarkItem& item : items) prompts.push_back(std::visit(MakePrompt{introductions}, item));
  return prompts;
}

}  // namespace quantmoe
