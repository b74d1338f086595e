#include "proto/lenient_parse.h"

#include "absl/strings/str_cat.h"
#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include "base/text.h"

namespace quantmoe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr int kMaxDepth = 100;  // as protobuf's own

// The same message with valid texts: on the wire it is fields of numbers and bytes, and the descriptor tells
// which bytes are texts or messages.
bool ScrubTexts(const Descriptor& descriptor, int depth, std::string& bytes) {
  UnknownFieldSet fields;
  if (depth > kMaxDepth || !fields.ParseFromString(bytes)) return false;
  for (int i = 0; i < fields.field_count(); ++i) {
    UnknownField& field = *fields.mutable_field(i);
    const FieldDescriptor* known = descriptor.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    std::string& value = *field.mutable_length_delimited();
    if (known->type() == FieldDescriptor::TYPE_STRING) value = ValidUtf8(value);
    if (known->type() != FieldDescriptor::TYPE_MESSAGE) continue;
    if (!ScrubTexts(*known->message_type(), depth + 1, value)) return false;
  }
  bytes.clear();
  return fields.SerializeToString(&bytes);
}

}  // namespace

absl::StatusOr<bool> ParseLeniently(const std::string& bytes, google::protobuf::Message* message) {
  if (message->ParseFromString(bytes)) return false;
  std::string scrubbed = bytes;
  if (ScrubTexts(*message->GetDescriptor(), 0, scrubbed) && message->ParseFromString(scrubbed)) {
    return true;
  }
  return absl::InvalidArgumentError(absl::StrCat("not a message ", message->GetDescriptor()->full_name()));
}

}  // namespace quantmoe
