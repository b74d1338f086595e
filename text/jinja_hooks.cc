#include "text/jinja_hooks.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <jinja/runtime.h>

#include "text/unicode.h"

namespace quantmoe::jinja_hooks {
namespace {

constexpr int kDeepest = 400;
constexpr size_t kLargestText = size_t{16} << 20;
constexpr size_t kMostParts = 300'000;  // of a text
constexpr size_t kMostItems = 100'000;  // of a list
constexpr int64_t kStepsOfIteration = 10;
constexpr size_t kBytesOfStep = 256, kItemsOfStep = 16;
constexpr int kMostNodes = 200'000;  // of a new list or object, however often they are the same
constexpr int kDeepestValue = 64;
// 26 July 2024, which published templates take as their own default: the day must not change the bytes.
constexpr int kYear = 2024, kMonth = 7, kDay = 26, kWeekday = 5, kDayOfYear = 208;

thread_local int64_t steps_left = 0;
thread_local int depth = 0;

[[noreturn]] void Refuse(const std::string& what) { throw std::runtime_error(what); }

// --- sizes
// -----------------------------------------------------------------------------------------------------------

struct Walk {
  int nodes = kMostNodes;
  const jinja::value_t* forbidden = nullptr;

  void Visit(const Value& value, int level) {
    if (value.get() == forbidden) Refuse("a namespace is stored in itself");
    if (--nodes < 0 || level > kDeepestValue) Refuse("a list or object of the template is too large");
    for (const Value& item : value->val_arr) Visit(item, level + 1);
    for (const auto& [key, item] : value->val_obj) Visit(item, level + 1);
  }
};

size_t TextSize(const Value& value) {
  return jinja::is_val<jinja::value_string>(value) ? value->val_str.length() : 0;
}

void Charge(int64_t steps) {
  steps_left -= steps;
  if (steps_left < 0) Refuse("the template takes too many steps");
}

// --- Python's view of values
// -----------------------------------------------------------------------------------------

Value Text(const std::string& text) { return jinja::mk_val<jinja::value_string>(text); }

// repr() of a float.
std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const double size = std::abs(value);
  const bool plain = value == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer.data(), end.ptr);
  if (plain && !absl::StrContains(text, '.')) text += ".0";
  return text;
}

bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

std::u32string CodePoints(std::string_view text) {
  std::u32string points;
  for (size_t i = 0; i < text.size();) points += NextCodePoint(text, i);
  return points;
}

// str.strip and its kin; `characters` as the argument gives them, or white space.
std::string Strip(std::string_view text, bool left, bool right, const std::u32string* characters) {
  const auto drops = [&](char32_t c) {
    return characters == nullptr ? IsPythonSpace(c) : characters->find(c) != std::u32string::npos;
  };
  size_t begin = 0;
  size_t end = text.size();
  for (size_t i = begin; left && i < end && drops(NextCodePoint(text, i));) begin = i;
  for (size_t i = end; right && i > begin && drops(PreviousCodePoint(text, i));) end = i;
  return std::string(text.substr(begin, end - begin));
}

void AddItem(jinja::value_array& list, std::string_view text) {
  if (list->val_arr.size() >= kMostItems)
    Refuse(absl::StrCat("a text is split in more than ", kMostItems, " parts"));
  list->push_back(Text(std::string(text)));
}

// str.split(separator, most)
Value Split(std::string_view text, const std::string& separator, int64_t most) {
  if (separator.empty()) Refuse("empty separator");
  auto parts = jinja::mk_val<jinja::value_array>();
  size_t begin = 0;
  for (size_t at = text.find(separator); at != text.npos && most != 0;
       at = text.find(separator, begin), --most) {
    AddItem(parts, text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  AddItem(parts, text.substr(begin));
  return parts;
}

// str.split() without a separator.
Value SplitAtSpace(std::string_view text) {
  auto words = jinja::mk_val<jinja::value_array>();
  size_t begin = std::string_view::npos;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const bool space = IsPythonSpace(NextCodePoint(text, i));
    if (space && begin != text.npos) AddItem(words, text.substr(begin, at - begin));
    if (space) begin = text.npos;
    if (!space && begin == text.npos) begin = at;
  }
  if (begin != text.npos) AddItem(words, text.substr(begin));
  return words;
}

std::string FixedDate(const std::string& format) {
  std::tm day{};
  day.tm_year = kYear - 1900;
  day.tm_mon = kMonth - 1;
  day.tm_mday = kDay;
  day.tm_wday = kWeekday;
  day.tm_yday = kDayOfYear - 1;
  std::array<char, 256> buffer;
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &day);
  if (size == 0 && !format.empty()) Refuse("strftime_now makes nothing of its format");
  return std::string(buffer.data(), size);
}

// --- answers instead of the engine's
// ---------------------------------------------------------------------------------

// A text times what an argument puts in for its characters.
void CheckGrowth(const jinja::func_args& args) {
  size_t pieces = 1;
  size_t added = 1;
  const std::vector<Value>& all = args.get_args();
  for (size_t i = 0; i < all.size(); ++i) {
    Value value = all[i];
    if (const auto* named = jinja::cast_val<jinja::value_kwarg>(value)) value = named->val;
    const size_t size = std::max({TextSize(value), value->val_arr.size(), value->val_obj.size()});
    if (i == 0) {
      pieces += size;
    } else if (jinja::is_val<jinja::value_int>(value)) {
      added += static_cast<size_t>(std::clamp<int64_t>(value->val_int, 0, kLargestText));
    } else {
      added += size;
    }
  }
  if (added > kLargestText / pieces) Refuse("the text that it makes may be too long");
}

void CheckRange(const jinja::func_args& args) {
  std::array<int64_t, 3> numbers = {0, 0, 1};
  const size_t count = std::min<size_t>(args.count(), 3);
  for (size_t i = 0; i < count; ++i) numbers[count == 1 ? 1 : i] = args.get_args()[i]->val_int;
  const double length = (static_cast<double>(numbers[1]) - static_cast<double>(numbers[0])) /
                        static_cast<double>(numbers[2] == 0 ? 1 : numbers[2]);
  if (length > static_cast<double>(kMostItems))
    Refuse(absl::StrCat("range of more than ", kMostItems, " numbers"));
}

Value Default(const jinja::func_args& args) {
  const Value value = args.get_pos(0);
  const Value otherwise = args.get_kwarg_or_pos("default_value", 1);
  const bool falsy = args.get_kwarg_or_pos("boolean", 2)->as_bool() && !value->as_bool();
  if (!value->is_undefined() && !falsy) return value;
  return args.count() > 1 ? otherwise : Text("");
}

Value StripAnswer(const std::string& name, const std::string& text, const jinja::func_args& args) {
  const Value characters = args.get_kwarg_or_pos("chars", 1);
  const bool left = name != "rstrip";
  const bool right = name != "lstrip";
  if (characters->is_undefined() || characters->is_none()) return Text(Strip(text, left, right, nullptr));
  const std::u32string points = CodePoints(characters->as_string().str());
  return Text(Strip(text, left, right, &points));
}

// Methods of a text. What the engine does byte by byte and a text outside of ASCII needs by character is
// refused.
bool AnswersForText(const std::string& name, const std::string& text, const jinja::func_args& args,
                    Value& answer) {
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    answer = StripAnswer(name, text, args);
  } else if (name == "length") {
    answer = jinja::mk_val<jinja::value_int>(CountCodePoints(text));
  } else if (name == "split") {
    const Value separator = args.get_kwarg_or_pos("sep", 1);
    const Value most = args.get_kwarg_or_pos("maxsplit", 2);
    const bool at_space = separator->is_undefined() || separator->is_none();
    if (at_space && !most->is_undefined()) Refuse("split at white space with a limit is not supported");
    answer = at_space ? SplitAtSpace(text)
                      : Split(text, separator->as_string().str(), most->is_undefined() ? -1 : most->as_int());
  } else if (name == "format" && absl::StrContains(text, '%')) {
    Refuse("format with % is not supported");
  } else if (name == "lower" && !IsAscii(text)) {
    answer = Text(Lowercase(text));
  } else if ((name == "upper" || name == "title" || name == "capitalize" || name == "slice") &&
             !IsAscii(text)) {
    Refuse(absl::StrCat(name, " of a text outside of ASCII is not supported"));
  } else {
    return false;
  }
  return true;
}

void CheckNumbers(const Value& value) {
  if (jinja::is_val<jinja::value_float>(value) && FloatText(value->val_flt) != value->as_string().str())
    Refuse(absl::StrCat("the number ", FloatText(value->val_flt), " cannot be written as JSON"));
  for (const Value& item : value->val_arr) CheckNumbers(item);
  for (const auto& [key, item] : value->val_obj) CheckNumbers(item);
}

}  // namespace

StepBudget::StepBudget(int64_t steps) : previous_steps_(steps_left), previous_depth_(depth) {
  steps_left = steps;
  depth = 0;
}

StepBudget::~StepBudget() {
  steps_left = previous_steps_;
  depth = previous_depth_;
}

int64_t StepBudget::left() const { return std::max<int64_t>(steps_left, 0); }

Step::Step() {
  Charge(1);
  if (depth >= kDeepest) Refuse("the template is nested too deeply, or calls itself too often");
  ++depth;
}

Step::~Step() { --depth; }

Value Checked(Value value) {
  if (value->val_str.parts.size() > kMostParts || TextSize(value) > kLargestText ||
      value->val_arr.size() > kMostItems)
    Refuse("a text or list of the template is too long");
  Charge(static_cast<int64_t>(TextSize(value) / kBytesOfStep + value->val_arr.size() / kItemsOfStep));
  if (value.use_count() == 1 && !(value->val_arr.empty() && value->val_obj.empty())) Walk().Visit(value, 0);
  return value;
}

Value Printed(Value value) {
  if (jinja::is_val<jinja::value_none>(value)) return Text("None");
  if (jinja::is_val<jinja::value_float>(value)) return Text(FloatText(value->val_flt));
  if (jinja::is_val<jinja::value_array>(value)) Refuse("a list is printed as it is, which is not supported");
  if (jinja::is_val<jinja::value_object>(value))
    Refuse("an object is printed as it is, which is not supported");
  if (jinja::is_val<jinja::value_func>(value)) Refuse("a function is printed");
  if (jinja::is_val<jinja::value_string>(value) && !IsValidUtf8(value->val_str.str()))
    Refuse("a character outside of ASCII is cut in parts");
  return value;
}

void CheckStored(const jinja::value_t& target, const Value& value) {
  Walk walk;
  walk.forbidden = &target;
  walk.Visit(value, 0);
}

void CheckJoined(bool plus, const Value& left, const Value& right) {
  for (const Value& side : {left, right}) {
    if (jinja::is_val<jinja::value_string>(side)) continue;
    const bool written =
        jinja::is_val<jinja::value_int>(side) || jinja::is_val<jinja::value_bool>(side) ||
        (jinja::is_val<jinja::value_float>(side) && FloatText(side->val_flt) == side->as_string().str());
    if (plus || !written) Refuse(absl::StrCat("a text is joined with a value of the type ", side->type()));
  }
}

void CheckRepeated(size_t length, int64_t times) {
  if (times > 0 && static_cast<uint64_t>(times) > kLargestText / (length + 1))
    Refuse("the text that it makes is too long");
}

void ChargeIteration() { Charge(kStepsOfIteration); }

void CheckDivision(const std::string& op, double divisor) {
  if (divisor == 0 && (op == "/" || op == "%")) Refuse("division by zero");
}

int64_t Integer(double value) {
  if (!(std::abs(value) < 9e15)) Refuse("an integer is too large");
  return static_cast<int64_t>(value);
}

bool Divides(int64_t divisor, int64_t value) {
  if (divisor == 0) Refuse("division by zero");
  return divisor == -1 || value % divisor == 0;
}

int64_t TextIndex(const std::string& text, int64_t index) {
  if (!IsAscii(text)) Refuse("a character of a text outside of ASCII is asked for, which is not supported");
  return index < 0 ? index + static_cast<int64_t>(text.size()) : index;
}

Value IsIterable(const jinja::func_args& args) {
  const Value value = args.get_pos(0);
  return jinja::mk_val<jinja::value_bool>(jinja::is_val<jinja::value_array>(value) || value->is_undefined() ||
                                          jinja::is_val<jinja::value_string>(value) ||
                                          jinja::is_val<jinja::value_object>(value));
}

bool Answers(const std::string& name, bool is_method, const jinja::func_args& args, Value& answer) {
  static constexpr std::string_view kGrowing[] = {"replace", "join",   "indent",
                                                  "tojson",  "format", "truncate"};
  if (!is_method && name == "range") CheckRange(args);
  if (!is_method && name == "strftime_now" && args.count() == 1) {
    answer = Text(FixedDate(args.get_pos(0)->as_string().str()));
    return true;
  }
  if (name == "tojson" && args.count() > 0) CheckNumbers(args.get_pos(0));
  if (std::find(std::begin(kGrowing), std::end(kGrowing), name) != std::end(kGrowing)) CheckGrowth(args);
  if (!is_method) return false;
  if (name == "default") {
    answer = Default(args);
    return true;
  }
  // transformers renders in a sandbox that has no way to change a list.
  if (name == "append" || name == "pop") Refuse(absl::StrCat(name, " changes a list, which is not allowed"));
  const Value self = args.get_pos(0);
  if (jinja::is_val<jinja::value_string>(self))
    return AnswersForText(name, self->val_str.str(), args, answer);
  const bool composed = jinja::is_val<jinja::value_array>(self) || jinja::is_val<jinja::value_object>(self);
  if (name == "string" && composed) Refuse("string of a list or object is not supported");
  return false;
}

}  // namespace quantmoe::jinja_hooks
