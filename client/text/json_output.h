// Protobuf messages as JSON for scripts: proto field names, defaults included.
#pragma once

#include <string>

#include <google/protobuf/message.h>

namespace quantmoe {

// One indented document, ending with a line feed.
std::string JsonDocument(const google::protobuf::Message& message);

// The same on one line, ending with a line feed.
std::string JsonLine(const google::protobuf::Message& message);

}  // namespace quantmoe
