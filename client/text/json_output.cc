#include "client/text/json_output.h"

#include <google/protobuf/util/json_util.h>

namespace quantmoe {
namespace {

std::string ToJson(const google::protobuf::Message& message, bool indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = indented;
  std::string json;
  // Only an Any of unknown type can fail; the rest of the message is still worth printing.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) {
    json = "{\"unprintable\": \"" + message.GetTypeName() + "\"}";
  }
  while (!json.empty() && json.back() == '\n') json.pop_back();
  return json + "\n";
}

}  // namespace

std::string JsonDocument(const google::protobuf::Message& message) { return ToJson(message, true); }

std::string JsonLine(const google::protobuf::Message& message) { return ToJson(message, false); }

}  // namespace quantmoe
