// From a job to its tasks. Pure: the same job gives the same graph on every machine, in the service and in
// quantmoe-local. Two steps, because the number of shards is known only after `prepare` has counted tokens
// and items.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/graph/task_definition.h"
#include "plan/job/job_spec.h"
#include "storage/blob_store.h"

namespace quantmoe {

// What `prepare` found; its output role "summary".
struct PrepareSummary {
  int calibration_shards = 0;
  int64_t calibration_tokens = 0;
  int evaluation_shards = 0;
  int64_t evaluation_tokens = 0;
  bool samples_apart = true;  // from what solves use; false where the text is too short for both
};
std::string PrepareSummaryToJson(const PrepareSummary& summary);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<PrepareSummary> PrepareSummaryFromJson(absl::string_view json);
// From the blob that `prepare` wrote. Errors of BlobStore::Open and of PrepareSummaryFromJson; a blob that
// is cut while it is read is a lost one too (storage/lost_blob.h).
absl::StatusOr<PrepareSummary> ReadPrepareSummary(BlobStore& blobs, const Digest& summary);

// The first task of a job. Outputs: summary, hidden.<shard>, and behind these the sample of the probes,
// requests.<evaluation shard>, and search_sample and verdict_sample, windows of text that no solve uses.
TaskDefinition PrepareTask(const ResolvedJob& job);

// All other tasks, in an order in which producers come first. Label, inputs -> outputs:
//
//   forward-l<L>-s<S>: hidden -> hidden (not for the last layer), ffn_input, stream; in MoE layers also
//   routing, counts
//
//   solve-l<L>-p<P>: for attention hidden.<S>, else ffn_input.<S>, for experts also routing.<S> -> table,
//   w<bits>
//
//   forward-l<L>-s<number of shards>: the same of the sample of the probes, with hidden also for the last
//   layer
//
//   probe-l<L>: hidden and last of the sample, table.<P> -> sensitivity; only for `optimal` with its measured
//   objective
//
//   predict-l<L>: ffn_input.<S> -> importance; only where the heuristic ranks blocks by the trained predictor
//
//   allocate: table.<L>.<P>, sensitivity.<L>, importance.<L>, stream.<L>.<S>, counts.<L>.<S> -> plan, table
//   (the whole DistortionTable), front (bytes against loss), reference (the uniform plan of the same budget,
//   where the plan is measured against it)
//
//   refine-0: plan and reference of allocate, table, sample -> plan, search, around (the plan without its
//   history) and stream.<L>, which enters a layer under it; only where a search is asked
//
//   probe-<R>-l<L>: as probe-l<L>, with plan and hidden of refine-<R-1>; it moves groups of that plan
//
//   refine-<R>: as refine-0, with plan and search of the one before and sensitivity.<L> of the probes
//
//   verdict: plan, uniform (the reference of allocate), sample, summary -> plan, the one of them that is
//   published: not always the first for `optimal`
//
//   evaluate-original-<I>, evaluate-planned-<I>, evaluate-reference-<I>: requests, plan -> scores
//
//   publish: plan, requests.<I>, original.<I>, planned.<I>, reference.<I>, reference_plan -> manifest,
//   scores, items, file.<n>
//
// With quantized propagation, plan/graph/quantized_pass.h puts a second pass behind allocate.
std::vector<TaskDefinition> TasksAfterPrepare(const ResolvedJob& job, const PrepareSummary& summary);

}  // namespace quantmoe
