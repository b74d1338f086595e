#include "proto/job_spec_proto.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

namespace quantmoe {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Strings = std::map<std::string, std::string>;

// Every option has a field of its name: tests/proto/job_spec_proto_test.cc.
const FieldDescriptor& FieldOf(const Message& message, const OptionInfo& option) {
  return *message.GetDescriptor()->FindFieldByName(option.name);
}

std::string Below(const std::string& path, const char* name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

// Reflection has one function for each type.
void Get(const Message& message, const FieldDescriptor& field, int& value) {
  value = message.GetReflection()->GetInt32(message, &field);
}
void Get(const Message& message, const FieldDescriptor& field, int64_t& value) {
  value = message.GetReflection()->GetInt64(message, &field);
}
void Get(const Message& message, const FieldDescriptor& field, double& value) {
  value = message.GetReflection()->GetDouble(message, &field);
}
void Get(const Message& message, const FieldDescriptor& field, bool& value) {
  value = message.GetReflection()->GetBool(message, &field);
}
void Get(const Message& message, const FieldDescriptor& field, std::string& value) {
  value = message.GetReflection()->GetString(message, &field);
}
void Get(const Message& message, const FieldDescriptor& field, std::vector<int>& values) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
    values.push_back(reflection.GetRepeatedInt32(message, &field, i));
}
void Get(const Message& message, const FieldDescriptor& field, std::vector<std::string>& values) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
    values.push_back(reflection.GetRepeatedString(message, &field, i));
}
void Get(const Message& message, const FieldDescriptor& field, Strings& values) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    values[entry.GetReflection()->GetString(entry, &key)] = entry.GetReflection()->GetString(entry, &value);
  }
}

void Set(Message& message, const FieldDescriptor& field, int value) {
  message.GetReflection()->SetInt32(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, int64_t value) {
  message.GetReflection()->SetInt64(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, double value) {
  message.GetReflection()->SetDouble(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, bool value) {
  message.GetReflection()->SetBool(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, const std::string& value) {
  message.GetReflection()->SetString(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, const std::vector<int>& values) {
  for (const int value : values) message.GetReflection()->AddInt32(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, const std::vector<std::string>& values) {
  for (const std::string& value : values) message.GetReflection()->AddString(&message, &field, value);
}
void Set(Message& message, const FieldDescriptor& field, const Strings& values) {
  for (const auto& [key, value] : values) {
    Message& entry = *message.GetReflection()->AddMessage(&message, &field);
    Set(entry, *field.message_type()->map_key(), key);
    Set(entry, *field.message_type()->map_value(), value);
  }
}

// The number that the proto gives to a name; 0, the unspecified one, to a name that it lacks.
int NumberOf(const FieldDescriptor& field, absl::string_view name) {
  const EnumValueDescriptor* value = field.enum_type()->FindValueByName(absl::AsciiStrToUpper(name));
  return value == nullptr ? 0 : value->number();
}

class Reader {
 public:
  Reader(std::vector<FieldViolation>& violations, GivenFields* given)
      : violations_(violations), given_(given) {}

  template <HasOptions Spec>
  void ReadMessage(const Message& message, const std::string& path, Spec& spec) {
    RefuseUnknown(message, path);
    auto visit = [&](const OptionInfo& option, auto& value) {
      const FieldDescriptor& field = FieldOf(message, option);
      const Reflection& reflection = *message.GetReflection();
      const bool is_set = field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                                              : reflection.HasField(message, &field);
      if (is_set) ReadField(message, field, Below(path, option.name), value);
    };
    VisitOptions(spec, visit);
  }

 private:
  template <typename T>
  void ReadField(const Message& message, const FieldDescriptor& field, const std::string& path, T& value) {
    if constexpr (kIsOptional<T>) {
      ReadField(message, field, path, value.emplace());
    } else if constexpr (std::same_as<T, Digest>) {
      Give(path);
      ReadDigest(message.GetReflection()->GetMessage(message, &field), path, value);
    } else if constexpr (HasOptions<T>) {
      ReadMessage(message.GetReflection()->GetMessage(message, &field), path, value);
    } else if constexpr (NamedChoice<T>) {
      Give(path);
      ReadChoice(field, message.GetReflection()->GetEnumValue(message, &field), path, value);
    } else {
      Give(path);
      Get(message, field, value);
    }
  }

  template <HasOptions T>
  void ReadField(const Message& message, const FieldDescriptor& field, const std::string& path,
                 std::vector<T>& values) {
    Give(path);
    Reader items(violations_, nullptr);
    for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
      items.ReadMessage(message.GetReflection()->GetRepeatedMessage(message, &field, i),
                        absl::StrCat(path, "[", i, "]"), values.emplace_back());
    }
  }

  void ReadDigest(const Message& message, const std::string& path, Digest& digest) {
    Reader(violations_, nullptr).ReadMessage(message, path, digest);
    if (!IsSha256(digest.sha256)) {
      Violate(path + ".sha256", "must be 64 lower-case hexadecimal characters");
    } else if (digest.size_bytes < 0) {
      Violate(path + ".size_bytes", absl::StrCat("must not be negative: ", digest.size_bytes));
    }
  }

  template <NamedChoice E>
  void ReadChoice(const FieldDescriptor& field, int number, const std::string& path, E& value) {
    constexpr auto kNames = ChoiceNames(E{});
    for (size_t i = 0; i < kNames.size(); ++i) {
      if (NumberOf(field, kNames[i]) != number) continue;
      value = static_cast<E>(i);
      return;
    }
    Violate(path, absl::StrCat("has the value ", number, ", which this program does not know; it knows ",
                               absl::StrJoin(kNames, ", ")));
  }

  // A field of a later version means something that this program would leave out without a word.
  void RefuseUnknown(const Message& message, const std::string& path) {
    const auto& unknown = message.GetReflection()->GetUnknownFields(message);
    for (int i = 0; i < unknown.field_count(); ++i) {
      Violate(path, absl::StrCat("has the field ", unknown.field(i).number(), " of ",
                                 message.GetDescriptor()->name(), ", which this program does not know"));
    }
  }

  void Violate(const std::string& path, std::string description) {
    violations_.push_back({path.empty() ? "spec" : Below("spec", path.c_str()), std::move(description)});
  }
  void Give(const std::string& path) {
    if (given_ != nullptr) given_->emplace(path, "");
  }

  std::vector<FieldViolation>& violations_;
  GivenFields* const given_;
};

class Writer {
 public:
  // Null: every field is written.
  explicit Writer(const GivenFields* given) : given_(given) {}

  template <HasOptions Spec>
  void WriteMessage(const Spec& spec, const std::string& path, Message& message) const {
    auto visit = [&](const OptionInfo& option, const auto& value) {
      const std::string below = Below(path, option.name);
      if (IsGiven(below)) WriteField(value, below, message, FieldOf(message, option));
    };
    VisitOptions(spec, visit);
  }

 private:
  // Itself or something in it.
  bool IsGiven(const std::string& path) const {
    if (given_ == nullptr) return true;
    const auto found = given_->lower_bound(path);
    return found != given_->end() && (found->first == path || absl::StartsWith(found->first, path + "."));
  }

  template <typename T>
  void WriteField(const T& value, const std::string& path, Message& message,
                  const FieldDescriptor& field) const {
    if constexpr (kIsOptional<T>) {
      if (value) WriteField(*value, path, message, field);
    } else if constexpr (std::same_as<T, Digest>) {
      if (value != T{}) Writer(nullptr).WriteMessage(value, path, Sub(message, field));
    } else if constexpr (HasOptions<T>) {
      // A message of defaults alone says nothing.
      if (given_ != nullptr || value != T{}) WriteMessage(value, path, Sub(message, field));
    } else if constexpr (NamedChoice<T>) {
      message.GetReflection()->SetEnumValue(&message, &field, NumberOf(field, ChoiceName(value)));
    } else {
      Set(message, field, value);
    }
  }

  template <HasOptions T>
  void WriteField(const std::vector<T>& values, const std::string& path, Message& message,
                  const FieldDescriptor& field) const {
    for (const T& value : values) {
      Writer(nullptr).WriteMessage(value, path, *message.GetReflection()->AddMessage(&message, &field));
    }
  }

  static Message& Sub(Message& message, const FieldDescriptor& field) {
    return *message.GetReflection()->MutableMessage(&message, &field);
  }

  const GivenFields* const given_;
};

}  // namespace

JobSpec JobSpecFromProto(const v1::JobSpec& proto, std::vector<FieldViolation>& violations,
                         GivenFields* given) {
  JobSpec spec;
  Reader(violations, given).ReadMessage(proto, "", spec);
  return spec;
}

v1::JobSpec JobSpecToProto(const JobSpec& spec) {
  v1::JobSpec proto;
  Writer(nullptr).WriteMessage(spec, "", proto);
  return proto;
}

v1::JobSpec JobSpecToProto(const JobSpec& spec, const GivenFields& given) {
  v1::JobSpec proto;
  Writer(&given).WriteMessage(spec, "", proto);
  return proto;
}

}  // namespace quantmoe
