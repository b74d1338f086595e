#include "server/wire/job_requests.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/budget.h"
#include "plan/graph/job_estimate.h"
#include "plan/graph/task_graph.h"
#include "plan/job/complete_input.h"
#include "plan/job/inspection.h"
#include "plan/options/spec_files.h"
#include "proto/job_spec_proto.h"
#include "server/facts/resource_names.h"
#include "server/wire/job_data.h"
#include "storage/lost_blob.h"
#include "storage/mapped_reads.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

// Map entries in key order, so that equal messages have equal bytes.
std::string CanonicalBytes(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&out);
  out.Trim();
  return bytes;
}

void CheckNames(const v1::CreateJobRequest& request, std::vector<FieldViolation>& violations) {
  if (!request.job_id().empty() && !IsJobId(request.job_id())) {
    violations.push_back(
        {"job_id", absl::StrCat("must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?: ", request.job_id())});
  }
  if (request.job().labels().contains("")) violations.push_back({"job.labels", "a key is empty"});
}

// Why a task cannot read the text or the items of this blob; empty when it can. A blob that is damaged is not
// stored either, and whoever asks has its bytes.
absl::StatusOr<std::string> FindBlobProblem(ServiceContext& context, const Digest& digest) {
  absl::StatusOr<MappedFile> blob = context.blobs().Open(digest);
  if (IsLostBlob(blob.status()) && RestoreShippedText(context, digest)) blob = context.blobs().Open(digest);
  if (IsLostBlob(blob.status())) return absl::StrCat("blob ", digest.sha256, " is not stored");
  RETURN_IF_ERROR(blob.status());
  const bool blank = IsBlank(blob->bytes());
  RETURN_IF_ERROR(CheckMappedRead(blob->bytes()));
  return blank ? "is empty, or holds only white space" : "";
}

absl::Status CheckSpec(ServiceContext& context, const v1::JobSpec& proto,
                       std::vector<FieldViolation> violations, JobSpec* parsed) {
  JobSpec spec = JobSpecFromProto(proto, violations);
  for (FieldViolation& violation : CompleteInput(spec)) violations.push_back(std::move(violation));
  std::set<std::string> known;
  for (const FieldViolation& violation : violations) known.insert(violation.field);
  for (FieldViolation& violation : CheckJobSpec(spec)) {
    if (known.contains(violation.field) || known.contains(violation.field + ".sha256")) continue;
    violations.push_back(std::move(violation));
  }
  for (const NamedBlob& blob : NamedBlobs(spec)) {
    ASSIGN_OR_RETURN(std::string problem, FindBlobProblem(context, blob.digest));
    if (!problem.empty()) violations.push_back({blob.field, std::move(problem)});
  }
  if (parsed != nullptr) *parsed = spec;
  return InvalidFields(std::move(violations));
}

// How long the job takes the connected workers, from the rates of tasks that were timed.
void EstimateTime(const JobEstimate& needs, const WorkerRates& rates, v1::Estimate& estimate) {
  double seconds = 0;
  bool known = rates.workers > 0;
  for (const auto& [kind, stage] : needs.stages) {
    v1::StageEstimate& out = *estimate.add_stages();
    out.set_stage(std::string(TaskKindName(kind)));
    out.set_tasks(stage.tasks);
    const auto rate = rates.done.find(kind);
    const bool timed = rate != rates.done.end() && rate->second.first > 0 && rate->second.second > 0;
    if (timed) out.set_task_seconds(stage.work * rate->second.second / rate->second.first);
    known = known && timed;
    seconds += out.task_seconds() / std::min(stage.tasks, std::max(rates.workers, 1));
  }
  estimate.set_workers(rates.workers);
  if (known) estimate.set_seconds(seconds);
}

void AddWorkerWarnings(const WorkerRates& rates, v1::Estimate& estimate) {
  if (rates.workers == 0) {
    estimate.add_warnings("no worker is connected: the job would wait");
  } else if (rates.largest_memory_bytes > 0 && rates.largest_memory_bytes < estimate.worker_memory_bytes()) {
    estimate.add_warnings(absl::StrCat("the largest task may need ", estimate.worker_memory_bytes(),
                                       " bytes of memory, the largest connected worker has ",
                                       rates.largest_memory_bytes));
  }
}

}  // namespace

std::string RequestHash(const v1::CreateJobRequest& request) {
  v1::CreateJobRequest body = request;
  body.clear_request_id();
  return DigestOf(absl::StrCat("CreateJob/", CanonicalBytes(body))).sha256;
}

std::string RequestHash(const v1::RetryJobRequest& request) {
  return DigestOf(absl::StrCat("RetryJob/", request.name())).sha256;
}

absl::Status CheckRequest(ServiceContext& context, const v1::CreateJobRequest& request) {
  std::vector<FieldViolation> violations;
  CheckNames(request, violations);
  return CheckSpec(context, request.job().spec(), std::move(violations), nullptr);
}

absl::StatusOr<std::shared_ptr<const ResolvedJob>> OpenSpec(ServiceContext& context,
                                                            const v1::JobSpec& proto) {
  JobSpec spec;
  RETURN_IF_ERROR(CheckSpec(context, proto, {}, &spec));
  ASSIGN_OR_RETURN(ResolvedJob job, OpenJob(std::move(spec), context.models));
  return std::make_shared<const ResolvedJob>(std::move(job));
}

std::string DescribeModel(const ResolvedJob& job) {
  nlohmann::json json;
  json["uri"] = job.spec.model_uri;
  json["model_type"] = job.model.model_type;
  json["architecture"] = job.model.architecture;
  json["dtype"] = job.model.dtype;
  json["hidden_size"] = job.model.hidden;
  json["layers"] = job.model.num_layers();
  json["experts"] = job.model.moe.experts;
  json["experts_per_token"] = job.model.moe.top_k;
  json["vocabulary"] = job.model.vocab;
  json["digest"] = job.model_digest;
  json["quantized_linears"] = ListLinears(job.model).size();
  return json.dump();
}

absl::StatusOr<std::string> InspectModelAt(ServiceContext& context, const std::string& uri) {
  ASSIGN_OR_RETURN(std::unique_ptr<ModelDirectory> directory, OpenModel(uri, context.models));
  return InspectModel(std::move(directory));
}

WorkerRates GatherRates(const ServiceContext& context) {
  WorkerRates rates;
  for (const auto& [id, worker] : context.links.table()) {
    if (!worker.connected || worker.draining) continue;
    ++rates.workers;
    rates.largest_memory_bytes = std::max(rates.largest_memory_bytes, worker.memory_bytes);
  }
  for (const auto& [id, job] : context.facts.table().jobs()) {
    for (const Task& task : job.tasks) {
      const bool timed = task.record.state() == v1::Task::DONE && !task.cached();
      if (!timed || task.definition().work <= 0) continue;
      auto& [work, seconds] = rates.done[task.kind()];
      work += task.definition().work;
      seconds += task.record.seconds();
    }
  }
  return rates;
}

absl::StatusOr<v1::Estimate> EstimateSpec(ServiceContext& context, const v1::JobSpec& proto,
                                          const WorkerRates& rates) {
  v1::JobSpec filled = proto;
  RETURN_IF_ERROR(FetchJobData(context, filled));
  ASSIGN_OR_RETURN(const auto job, OpenSpec(context, filled));
  ASSIGN_OR_RETURN(const JobEstimate needs, EstimateNeeds(*job));
  v1::Estimate estimate;
  estimate.set_original_bytes(needs.original_bytes);
  estimate.set_minimum_bytes(needs.sizes.minimum_bytes);
  estimate.set_maximum_bytes(needs.sizes.maximum_bytes);
  estimate.set_minimum_average_bits(needs.sizes.minimum_average_bits);
  estimate.set_maximum_average_bits(needs.sizes.maximum_average_bits);
  estimate.set_budget_bytes(needs.budget_bytes);
  estimate.set_predicted_bytes(needs.predicted_bytes);
  estimate.set_bytes_exact(needs.bytes_exact);
  estimate.set_worker_memory_bytes(needs.worker_memory_bytes);
  estimate.set_calibration_tokens(needs.calibration_tokens);
  estimate.set_tokens_per_expert(needs.tokens_per_expert);
  estimate.set_quantized_linears(needs.quantized_linears);
  estimate.set_tasks(needs.tasks());
  estimate.mutable_warnings()->Add(needs.warnings.begin(), needs.warnings.end());
  AddWorkerWarnings(rates, estimate);
  EstimateTime(needs, rates, estimate);
  return estimate;
}

}  // namespace quantmoe
