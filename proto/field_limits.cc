#include "proto/field_limits.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <google/protobuf/descriptor.h>
#include <quantmoe/v1/limits.pb.h>

#include "base/error_info.h"

namespace quantmoe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kDefaultBytes = 4096;
constexpr int kDefaultItems = 1000;
// A message that is wrong in thousands of places needs no longer answer than this.
constexpr size_t kMaxViolations = 20;

class Walk {
 public:
  void Check(const Message& message, const std::string& path) {
    std::vector<const FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      const std::string name = path.empty() ? field->name() : absl::StrCat(path, ".", field->name());
      CheckField(message, *field, name);
      if (violations_.size() >= kMaxViolations) return;
    }
  }
  std::vector<FieldViolation> Take() { return std::move(violations_); }

 private:
  void CheckField(const Message& message, const FieldDescriptor& field, const std::string& name) {
    const Reflection& reflection = *message.GetReflection();
    const v1::FieldLimit& limit = field.options().GetExtension(v1::at_most);
    if (!field.is_repeated()) {
      if (field.type() == FieldDescriptor::TYPE_STRING) {
        std::string scratch;
        CheckText(reflection.GetStringReference(message, &field, &scratch), limit, name);
      } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Check(reflection.GetMessage(message, &field), name);
      }
      return;
    }
    const int size = reflection.FieldSize(message, &field);
    const int most = limit.items() > 0 ? limit.items() : kDefaultItems;
    if (size > most) {
      violations_.push_back({name, absl::StrCat("has ", size, " entries, at most ", most, " are allowed")});
      return;
    }
    for (int i = 0; i < size && violations_.size() < kMaxViolations; ++i) {
      CheckItem(message, field, i, limit, absl::StrCat(name, "[", i, "]"));
    }
  }

  void CheckItem(const Message& message, const FieldDescriptor& field, int i, const v1::FieldLimit& limit,
                 const std::string& name) {
    const Reflection& reflection = *message.GetReflection();
    if (field.type() == FieldDescriptor::TYPE_STRING) {
      std::string scratch;
      CheckText(reflection.GetRepeatedStringReference(message, &field, i, &scratch), limit, name);
    } else if (field.is_map()) {
      CheckEntry(reflection.GetRepeatedMessage(message, &field, i), limit, name);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Check(reflection.GetRepeatedMessage(message, &field, i), name);
    }
  }

  // Key and value of a map share the limit that the map states.
  void CheckEntry(const Message& entry, const v1::FieldLimit& limit, const std::string& name) {
    for (const FieldDescriptor* part :
         {entry.GetDescriptor()->map_key(), entry.GetDescriptor()->map_value()}) {
      if (part->type() != FieldDescriptor::TYPE_STRING) continue;
      std::string scratch;
      CheckText(entry.GetReflection()->GetStringReference(entry, part, &scratch), limit,
                absl::StrCat(name, ".", part->name()));
    }
  }

  void CheckText(const std::string& text, const v1::FieldLimit& limit, const std::string& name) {
    const int most = limit.bytes() > 0 ? limit.bytes() : kDefaultBytes;
    if (text.size() <= static_cast<size_t>(most)) return;
    violations_.push_back(
        {name, absl::StrCat("has ", text.size(), " bytes, at most ", most, " are allowed")});
  }

  std::vector<FieldViolation> violations_;
};

}  // namespace

absl::Status CheckFieldLimits(const Message& request) {
  Walk walk;
  walk.Check(request, "");
  return InvalidFields(walk.Take());
}

}  // namespace quantmoe
