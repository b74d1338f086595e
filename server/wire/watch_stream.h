// The server's half of WatchJob.
#pragma once

#include <grpcpp/grpcpp.h>

#include "quantmoe/v1/jobs.pb.h"
#include "server/service_context.h"

namespace quantmoe {

// Replays the log after `after_seq` from the store, then follows it; reads the next page only when the last
// has left. NOT_FOUND JOB_NOT_FOUND, also when the job is deleted meanwhile; OK after the event that ends the
// job.
grpc::ServerWriteReactor<v1::JobEvent>* StartWatch(ServiceContext& context,
                                                   const v1::WatchJobRequest& request);

}  // namespace quantmoe
