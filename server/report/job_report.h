// The report of a job that succeeded, as JSON: scores, plan, per-linear facts, time. Fields: docs/formats.md.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "plan/graph/task_graph.h"
#include "server/facts/job_table.h"
#include "server/report/measured_plans.h"
#include "storage/blob_store.h"

namespace quantmoe {

// What the report needs from the facts.
struct ReportFacts {
  std::string job;
  std::string spec_json;
  std::string model_json;
  int64_t original_bytes = 0;
  std::string stages_json;
  std::string workers_json;
  std::string artifact_json;
  Digest plan;
  Digest table;
  Digest scores;  // empty sha256: evaluation was skipped
  Digest items;   // the same
  Digest front;   // empty sha256: the allocation is of a program that drew none
  std::vector<MeasuredJob> measured;
};

// FAILED_PRECONDITION REPORT_NOT_READY before the job has succeeded.
absl::StatusOr<ReportFacts> GatherReportFacts(const JobTable& jobs, const Job& job,
                                              const std::string& artifacts_dir);

// Reads plan, table, scores and front. Blocking: in a room only.
absl::StatusOr<std::string> BuildReport(const ReportFacts& facts, BlobStore& blobs);

}  // namespace quantmoe
