#include "text/chat_template.h"

#include <algorithm>
#include <exception>
#include <vector>

#include "absl/strings/str_cat.h"
#include <jinja/lexer.h>
#include <jinja/parser.h>
#include <jinja/runtime.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "text/jinja_hooks.h"

namespace jinja {
template <>
void global_from_json(context& ctx, const nlohmann::ordered_json& json_obj, bool mark_input);
}  // namespace jinja

namespace quantmoe {

struct ChatTemplate::Program {
  std::string source;
  jinja::program parsed;
};

namespace {

constexpr size_t kLongestTemplate = size_t{256} << 10;
constexpr int kMostTokensOfTag = 2000;
constexpr int kDeepestBrackets = 32;
constexpr int kDeepestBlocks = 64;
// What a row of conversations may cost beyond its share of the whole file.
constexpr int64_t kStepsOfRow = 200'000;
constexpr int64_t kStepsForRow = 5'000, kStepsForByte = 4;
constexpr int64_t kBytesForRow = int64_t{64} << 10, kBytesForByte = 16;

absl::Status Invalid(const std::string& file, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "CHAT_TEMPLATE_INVALID",
                   absl::StrCat("the chat template in ", file, ": ", what), {{"file", file}});
}

absl::Status Failed(const std::string& file, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "CHAT_TEMPLATE_FAILED",
                   absl::StrCat("the chat template in ", file, ": ", what), {{"file", file}});
}

// The engine's messages have several lines with a piece of the source: the place and the cause are kept.
std::string CauseOf(std::string_view message) {
  std::string place;
  if (const size_t at = message.find(" at line "); at != message.npos) {
    const size_t end = std::min(message.find(',', at), message.size());
    place = absl::StrCat(std::string(message.substr(at + 4, end - at - 4)), ": ");
  }
  const size_t cause = message.rfind("\nError: ");
  if (cause != message.npos) message.remove_prefix(cause + 8);
  for (const std::string_view word : {"lexer: ", "parser: ", "Parser Error: ", "Jinja Exception: "}) {
    if (message.starts_with(word)) message.remove_prefix(word.size());
  }
  message = message.substr(0, message.find('\n'));
  if (message == "stoll" || message == "stod") message = "a number is too large";
  return absl::StrCat(place, std::string(message.substr(0, 500)));
}

bool OpensBlock(const std::vector<jinja::token>& tokens, size_t tag) {
  static constexpr std::string_view kBlocks[] = {"if", "elif", "for", "macro", "call", "filter"};
  const std::string& name = tokens[tag].value;
  if (name != "set") return std::find(std::begin(kBlocks), std::end(kBlocks), name) != std::end(kBlocks);
  for (size_t i = tag; i < tokens.size() && tokens[i].t != jinja::token::close_statement; ++i) {
    if (tokens[i].t == jinja::token::equals) return false;
  }
  return true;
}

// The parser recurses with the nesting of its input, and has no limit.
class NestingCheck {
 public:
  bool Passes(const std::vector<jinja::token>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (!See(tokens, i)) return false;
    }
    return true;
  }

 private:
  bool See(const std::vector<jinja::token>& tokens, size_t i) {
    using Token = jinja::token;
    const Token::type type = tokens[i].t;
    ++in_tag_;
    if (type == Token::open_statement || type == Token::open_expression) in_tag_ = brackets_ = 0;
    if (type == Token::open_paren || type == Token::open_square_bracket || type == Token::open_curly_bracket)
      ++brackets_;
    if (type == Token::close_paren || type == Token::close_square_bracket ||
        type == Token::close_curly_bracket)
      --brackets_;
    if (type == Token::open_statement && i + 1 < tokens.size()) SeeTag(tokens, i + 1);
    return in_tag_ <= kMostTokensOfTag && brackets_ <= kDeepestBrackets && depth_ <= kDeepestBlocks;
  }

  // An elif is a block in the one before it; all of them end together.
  void SeeTag(const std::vector<jinja::token>& tokens, size_t tag) {
    if (OpensBlock(tokens, tag)) {
      if (tokens[tag].value != "elif" || blocks_.empty()) blocks_.push_back(0);
      ++blocks_.back();
      ++depth_;
    } else if (tokens[tag].value.starts_with("end") && !blocks_.empty()) {
      depth_ -= blocks_.back();
      blocks_.pop_back();
    }
  }

  int in_tag_ = 0, brackets_ = 0, depth_ = 0;
  std::vector<int> blocks_;
};

// --- what the engine loses
// -------------------------------------------------------------------------------------------

bool EndsIteration(const jinja::statements& body) {
  return std::any_of(body.begin(), body.end(), [](const jinja::statement_ptr& statement) {
    if (jinja::is_stmt<jinja::break_statement>(statement) ||
        jinja::is_stmt<jinja::continue_statement>(statement))
      return true;
    const auto* branch = dynamic_cast<const jinja::if_statement*>(statement.get());
    return branch != nullptr && (EndsIteration(branch->body) || EndsIteration(branch->alternate));
  });
}

bool MayPrint(const jinja::statement_ptr& statement) {
  return !jinja::is_stmt<jinja::set_statement>(statement) &&
         !jinja::is_stmt<jinja::comment_statement>(statement) &&
         !jinja::is_stmt<jinja::macro_statement>(statement) &&
         !jinja::is_stmt<jinja::noop_statement>(statement);
}

// Text of an if-branch that a later break or continue of the same branch would take with it.
bool LosesText(const jinja::statements& body, bool in_branch) {
  bool printed = false;
  for (const jinja::statement_ptr& statement : body) {
    const bool jumps = jinja::is_stmt<jinja::break_statement>(statement) ||
                       jinja::is_stmt<jinja::continue_statement>(statement);
    if (const auto* branch = dynamic_cast<const jinja::if_statement*>(statement.get())) {
      if (in_branch && printed && (EndsIteration(branch->body) || EndsIteration(branch->alternate)))
        return true;
      if (LosesText(branch->body, true) || LosesText(branch->alternate, true)) return true;
    }
    if (in_branch && printed && jumps) return true;
    if (const auto* loop = dynamic_cast<const jinja::for_statement*>(statement.get())) {
      if (LosesText(loop->body, false) || LosesText(loop->default_block, false)) return true;
    }
    if (const auto* macro = dynamic_cast<const jinja::macro_statement*>(statement.get())) {
      if (LosesText(macro->body, false)) return true;
    }
    printed = printed || MayPrint(statement);
  }
  return false;
}

}  // namespace

// Here, at the border to the engine, exceptions become a Status.
absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view text, const std::string& file) {
  if (text.size() > kLongestTemplate)
    return Invalid(file,
                   absl::StrCat("has ", text.size(), " bytes; at most ", kLongestTemplate, " are read"));
  try {
    auto program = std::make_shared<Program>();
    program->source = std::string(text);
    const jinja::lexer_result tokens = jinja::lexer().tokenize(program->source);
    if (!NestingCheck().Passes(tokens.tokens)) return Invalid(file, "it is nested too deeply");
    program->parsed = jinja::parse_from_tokens(tokens);
    if (LosesText(program->parsed.body, /*in_branch=*/false))
      return Invalid(file, "a break or continue behind text of the same branch is not supported");
    return ChatTemplate(std::move(program), file);
  } catch (const std::exception& error) {
    return Invalid(file, CauseOf(error.what()));
  }
}

absl::StatusOr<std::string> ChatTemplate::Render(const nlohmann::ordered_json& variables) {
  const auto size =
      static_cast<int64_t>(variables.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).size());
  steps_left_ += kStepsForRow + kStepsForByte * size;
  bytes_left_ += kBytesForRow + kBytesForByte * size;
  const int64_t steps = std::min(steps_left_, kStepsOfRow + kStepsForByte * size);
  const jinja_hooks::StepBudget budget(steps);
  std::string text;
  size_t place = std::string::npos;  // of a statement whose value is printed
  try {
    jinja::context context(program_->source);
    jinja::global_from_json(context, variables, /*mark_input=*/false);
    auto parts = jinja::mk_val<jinja::value_string>();
    for (const jinja::statement_ptr& statement : program_->parsed.body) {
      jinja::value printed = statement->execute(context);
      place = statement->pos;
      jinja::gather_string_parts_recursive(jinja_hooks::Printed(std::move(printed)), parts);
      jinja_hooks::Checked(parts);
      place = std::string::npos;
    }
    text = parts->val_str.str();
  } catch (const std::exception& error) {
    const std::string cause = CauseOf(error.what());
    if (place == std::string::npos) return Failed(file_, cause);
    const std::string& source = program_->source;
    const auto line =
        1 + std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(place), '\n');
    return Failed(file_, absl::StrCat("line ", line, ": ", cause));
  }
  steps_left_ -= steps - budget.left();
  bytes_left_ -= static_cast<int64_t>(text.size());
  if (bytes_left_ < 0) return Failed(file_, "it makes far more text than there is in the rows");
  return text;
}

}  // namespace quantmoe
