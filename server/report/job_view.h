// Facts as the messages that clients read. Pure.
#pragma once

#include "quantmoe/v1/artifacts.pb.h"
#include "quantmoe/v1/jobs.pb.h"
#include "quantmoe/v1/system.pb.h"
#include "server/decide/scheduler.h"
#include "server/facts/job_table.h"
#include "server/facts/worker_table.h"

namespace quantmoe {

v1::Job ViewJob(const Job& job);
// That and what only a reader of this one job wants: the resolved spec and the warnings.
v1::Job ViewWholeJob(const Job& job);
v1::Task ViewTask(const Job& job, const Task& task);
v1::Artifact ViewArtifact(const Job& job, const std::string& artifacts_dir);
v1::Worker ViewWorker(const WorkerFacts& worker, const JobTable& jobs, const SchedulingLimits& limits,
                      absl::Duration now);

}  // namespace quantmoe
