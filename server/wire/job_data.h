// Files of data sets that a spec names by URI: they are brought into the blob store before the job exists, so
// that everything after works with digests.
#pragma once

#include "absl/status/status.h"

#include "quantmoe/v1/types.pb.h"
#include "server/service_context.h"

namespace quantmoe {

// Fills in the digest beside every URI and pins the URI to a commit. What has a digest that is stored already
// is left as it is. Blocking: in a room only. INVALID_FIELD names all fields with a bad URI; INVALID_ARGUMENT
// DATA_CHANGED when other bytes came than the digest says; errors of sources/data_file.h, with the field.
absl::Status FetchJobData(ServiceContext& context, v1::JobSpec& spec);

// Stores a text that comes with the program again, if the digest is that of one. Blocking: executor only.
bool RestoreShippedText(ServiceContext& context, const Digest& digest);

}  // namespace quantmoe
