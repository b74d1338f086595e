#include "proto/valid_texts.h"

#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "base/text.h"

namespace quantmoe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void MakeTextValid(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  std::string scratch;
  const std::string& text = reflection.GetStringReference(message, &field, &scratch);
  if (std::string valid = ValidUtf8(text); valid != text)
    reflection.SetString(&message, &field, std::move(valid));
}

void MakeTextsOfListValid(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    std::string text = reflection.GetRepeatedString(message, &field, i);
    if (std::string valid = ValidUtf8(text); valid != text)
      reflection.SetRepeatedString(&message, &field, i, std::move(valid));
  }
}

void MakeMessagesValid(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) return MakeTextsValid(*reflection.MutableMessage(&message, &field));
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    MakeTextsValid(*reflection.MutableRepeatedMessage(&message, &field, i));
  }
}

}  // namespace

void MakeTextsValid(Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      MakeMessagesValid(message, *field);
    } else if (field->type() == FieldDescriptor::TYPE_STRING) {
      field->is_repeated() ? MakeTextsOfListValid(message, *field) : MakeTextValid(message, *field);
    }
  }
}

}  // namespace quantmoe
