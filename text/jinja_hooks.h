// What the Jinja engine of a chat template calls while it runs; cmake/jinja.cmake puts these calls into its
// sources. They bound the work of a template, which comes from outside, and give or refuse what the engine
// would do otherwise than Jinja2. Errors are exceptions, which the engine gives a place in the template;
// chat_template.cc catches them. All is of the thread that renders; the engine's headers include this one, so
// it knows none of theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace jinja {
struct func_args;
struct value_t;
}  // namespace jinja

namespace quantmoe::jinja_hooks {

// Steps that the templates of this thread may take; each expression and statement is one, and long values are
// more.
class StepBudget {
 public:
  explicit StepBudget(int64_t steps);
  ~StepBudget();
  StepBudget(const StepBudget&) = delete;
  StepBudget& operator=(const StepBudget&) = delete;
  int64_t left() const;

 private:
  const int64_t previous_steps_;
  const int previous_depth_;
};

// One step, as long as it lives: they nest as the template does.
class Step {
 public:
  Step();
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
};

using Value = std::shared_ptr<jinja::value_t>;

// `value`, unless it is too large. Of lists and objects that nothing else holds yet, what they contain
// counts.
Value Checked(Value value);
// How `value` looks in the text: Jinja2 writes None, and a float as Python does. Lists and objects are
// refused.
Value Printed(Value value);
// Refuses `value` as a field of `target` when it holds `target`.
void CheckStored(const jinja::value_t& target, const Value& value);
// Refuses what is no text beside a text: Jinja2's + joins texts only, and its ~ writes lists as Python does.
void CheckJoined(bool plus, const Value& left, const Value& right);
// Refuses `times` times `length` when that is too much.
void CheckRepeated(size_t length, int64_t times);
// What an iteration of a loop costs beside its steps.
void ChargeIteration();
// Arithmetic, which the engine does in doubles: refuses 0 as a divisor, and what is no exact integer.
void CheckDivision(const std::string& op, double divisor);
int64_t Integer(double value);
bool Divides(int64_t divisor, int64_t value);
// Where `index`, which may be negative, is in `text`; refuses a text outside of ASCII, which the engine sees
// as bytes.
int64_t TextIndex(const std::string& text, int64_t index);
// The tests `iterable` and `sequence`, to which objects belong too.
Value IsIterable(const jinja::func_args& args);
// Whether `answer` is what the function `name` gives. `is_method`: the first argument is the value that it
// belongs to.
bool Answers(const std::string& name, bool is_method, const jinja::func_args& args, Value& answer);

}  // namespace quantmoe::jinja_hooks
