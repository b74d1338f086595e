// Makes the texts of a message fit to send: protobuf writes what is not UTF-8, and every receiver refuses the
// whole message for it.
#pragma once

#include <google/protobuf/message.h>

namespace quantmoe {

// ValidUtf8 (base/text.h) of every text in `message` and in the messages within; bytes stay as they are.
void MakeTextsValid(google::protobuf::Message& message);

}  // namespace quantmoe
