// The flags that describe a job, shared by submit, estimate and compare, and what they become on the wire.
// Local files are hashed here and sent by the caller; those at hf://datasets/... are fetched by the server.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>
#include <quantmoe/v1/jobs.pb.h>

#include "client/transfer/upload.h"

namespace quantmoe {

// The spec of a job.
struct SpecFlags {
  std::string model;
  std::optional<double> bits;
  std::string bytes;
  std::optional<double> stored_bits;
  std::string rank_bytes;
  int ranks = 0;
  std::string preset;
  std::vector<std::string> pins;      // PATTERN=BITS
  std::vector<std::string> floors;    // PATTERN=BITS
  std::vector<std::string> ceilings;  // PATTERN=BITS
  std::vector<std::string> protected_patterns;
  std::string heuristic;            // empty: optimal, or the preset's
  std::vector<std::string> params;  // k=v
  std::string profile;
  int group_size = 0;
  std::vector<int> widths;
  double damp = 0;
  std::string order;
  std::string scales;
  std::optional<double> min_tokens_ratio;
  std::optional<double> max_fallback_ratio;
  std::string propagation;
  std::optional<double> correction;
  std::optional<bool> gate_weighted;
  std::optional<double> shrinkage;
  std::vector<std::string> all_tokens;
  int refine_rounds = 0;
  int refine_trials = 0;
  std::string calibration;
  int samples = 0;
  int sequence_length = 0;
  int shard_sequences = 0;
  std::string states;
  std::string text;
  int window = 0;
  std::vector<std::string> tasks;    // NAME=FILE
  std::vector<std::string> fewshot;  // NAME=FILE
  std::string tasks_dir;
  int64_t limit = 0;
  bool add_bos = false;
  bool no_add_bos = false;
  bool no_evaluation = false;
};

// The job around it.
struct JobFlags {
  std::string name;
  std::string display_name;
  std::vector<std::string> labels;  // k=v
  std::string request_id;
  bool validate_only = false;
};

// `flags` must outlive the parse.
void AddSpecFlags(CLI::App& command, SpecFlags& flags);
// Without the budget and the heuristic: what the jobs of a comparison have in common.
void AddSharedSpecFlags(CLI::App& command, SpecFlags& flags);
void AddJobFlags(CLI::App& command, JobFlags& flags);

// INVALID_ARGUMENT INVALID_FIELD names every bad flag at once. Files of the spec are added to `uploads`.
absl::StatusOr<v1::JobSpec> MakeJobSpec(const SpecFlags& flags, FileUploads& uploads);
absl::StatusOr<v1::CreateJobRequest> MakeCreateJobRequest(const SpecFlags& spec, const JobFlags& job,
                                                          FileUploads& uploads);

// A path without a scheme as an absolute one; URIs as they are.
std::string AbsoluteModelUri(const std::string& model);

// A random UUID, version 4.
std::string RandomUuid();

}  // namespace quantmoe
