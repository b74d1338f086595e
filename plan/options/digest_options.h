// A digest as fields: the message Digest of proto/quantmoe/v1/types.proto.
#pragma once

#include "plan/options/option.h"
#include "storage/digest.h"

namespace quantmoe {

template <SpecOf<Digest> Spec, typename Visit>
void VisitOptions(Spec& digest, Visit& visit) {
  visit(OptionInfo{.name = "sha256", .help = "Lower-case hexadecimal SHA-256", .kept = Kept::kAlways},
        digest.sha256);
  visit(OptionInfo{.name = "size_bytes", .help = "Bytes", .kept = Kept::kAlways}, digest.size_bytes);
}

}  // namespace quantmoe
