#include "server/report/job_report.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "plan/allocate/loss.h"
#include "plan/allocate/super_experts.h"
#include "plan/graph/task_definition.h"
#include "plan/model/json_codec.h"
#include "plan/options/spec_json.h"
#include "server/facts/resource_names.h"
#include "server/report/job_view.h"

namespace quantmoe {
namespace {

using nlohmann::json;

std::string Text(absl::string_view text) { return std::string(text); }

json StagesJson(const Job& job) {
  json stages = json::array();
  for (const auto& [kind, counters] : job.stages) {
    int64_t start_us = INT64_MAX, finish_us = 0;
    for (const Task& task : job.tasks) {
      if (task.kind() != kind || task.record.start_us() == 0) continue;
      start_us = std::min<int64_t>(start_us, task.record.start_us());
      finish_us = std::max<int64_t>(finish_us, task.record.finish_us());
    }
    const double wall_seconds = finish_us > start_us ? static_cast<double>(finish_us - start_us) * 1e-6 : 0;
    stages.push_back({{"stage", Text(TaskKindName(kind))},
                      {"tasks", counters.total},
                      {"cached", counters.cached},
                      {"task_seconds", counters.seconds},
                      {"wall_seconds", wall_seconds}});
  }
  return stages;
}

json WorkersJson(const Job& job) {
  std::map<std::string, std::pair<int, double>> workers;
  for (const Task& task : job.tasks) {
    if (task.record.worker().empty() || task.cached()) continue;
    auto& [tasks, seconds] = workers[task.record.worker()];
    ++tasks;
    seconds += task.record.seconds();
  }
  json list = json::array();
  for (const auto& [id, work] : workers) {
    list.push_back({{"id", id},
                    {"tasks", work.first},
                    {"task_seconds", work.second},
                    {"determinism_class", job.record.determinism_class()}});
  }
  return list;
}

json ArtifactJson(const v1::Artifact& artifact) {
  json files = json::array();
  for (const auto& file : artifact.files()) {
    files.push_back(
        {{"path", file.path()}, {"sha256", file.digest().sha256()}, {"size", file.digest().size_bytes()}});
  }
  return {{"path", artifact.path()},
          {"files", files},
          {"bytes", artifact.size_bytes()},
          {"manifest_sha256", artifact.manifest_sha256()}};
}

json PlanJson(const BitPlan& plan) {
  std::map<std::string, std::map<std::string, int>> histogram;
  for (const PlannedLinear& planned : plan.linears) {
    ++histogram[Text(LinearKindName(planned.linear.kind))][std::to_string(planned.width)];
  }
  json value = {{"heuristic", plan.heuristic},     {"profile", plan.profile},
                {"group_size", plan.group_size},   {"average_bits", plan.average_bits},
                {"stored_bits", plan.stored_bits}, {"loss", plan.loss},
                {"lower_bound", plan.lower_bound}, {"fallback_ratio", plan.fallback_ratio},
                {"objective", plan.objective},     {"unconstrained_loss", plan.unconstrained_loss},
                {"rank_bytes", plan.rank_bytes},   {"histogram", histogram}};
  if (plan.protection.linears > 0) value["protection"] = ProtectionJson(plan.protection);
  if (plan.risk) value["risk"] = RiskJson(*plan.risk);
  if (plan.verdict) value["verdict"] = VerdictJson(*plan.verdict);
  if (plan.refined) value["refined"] = RefinementJson(*plan.refined);
  return value;
}

json WidthsJson(const TableRow& row, Objective objective) {
  json widths = json::object();
  for (const auto& [width, facts] : row.row->widths) {
    widths[std::to_string(width)] = {{"distortion", facts.distortion},
                                     {"relative_error", facts.relative_error},
                                     {"block_error", facts.block_error},
                                     {"loss", Loss(row, width, objective)}};
  }
  return widths;
}

json LinearsJson(const BitPlan& plan, const DistortionTable& table) {
  std::map<std::string, TableRow> rows;
  for (const PartTable& part : table.parts) {
    for (const DistortionRow& row : part.rows) rows[row.linear.name] = {&row, &part};
  }
  const Objective objective = ParseObjective(plan.objective);
  json linears = json::array();
  for (const PlannedLinear& planned : plan.linears) {
    json linear = {{"name", planned.linear.name},
                   {"layer", planned.linear.layer},
                   {"kind", Text(LinearKindName(planned.linear.kind))},
                   {"expert", planned.linear.expert},
                   {"out", planned.linear.out},
                   {"in", planned.linear.in},
                   {"bits", planned.width},
                   {"loss", planned.loss},
                   {"method", planned.method},
                   {"fallback", planned.fallback}};
    if (const auto row = rows.find(planned.linear.name); row != rows.end()) {
      const DistortionRow& facts = *row->second.row;
      linear["tokens"] = facts.tokens;
      linear["damp"] = facts.damp;
      linear["effective_rank"] = facts.effective_rank;
      linear["outlier_score"] = facts.outlier_score;
      linear["loss_scale"] = row->second.part->loss_scale;
      linear["widths"] = WidthsJson(row->second, objective);
    }
    linears.push_back(std::move(linear));
  }
  return linears;
}

// Statistics of every layer; peaks of single experts stand in the table of the job.
json StreamsJson(const DistortionTable& table) {
  json streams = json::array();
  for (const StreamStatistics& stream : table.streams) {
    json value = StreamStatisticsJson(stream);
    for (const char* key : {"expert_peaks", "massive_routed"}) value.erase(key);
    streams.push_back(std::move(value));
  }
  return streams;
}

json SuperExpertsJson(const DistortionTable& table) {
  json experts = json::array();
  for (const SuperExpert& found : FindSuperExperts(table.streams)) {
    experts.push_back({{"layer", found.layer},
                       {"expert", found.expert},
                       {"peak", found.peak},
                       {"massive_tokens", found.massive_tokens}});
  }
  return experts;
}

absl::StatusOr<json> ReadJson(BlobStore& blobs, const Digest& digest) {
  ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(digest));
  absl::StatusOr<json> parsed = ParseJson(file.bytes());
  if (parsed.ok()) return parsed;
  return MakeError(absl::StatusCode::kInternal, "SCORES_INVALID", "a blob of the report is not JSON");
}

// The front that the allocation traced, with every job that was measured on the same solves.
absl::StatusOr<json> FrontJson(const ReportFacts& facts, const DistortionTable& table, BlobStore& blobs) {
  ASSIGN_OR_RETURN(const JobSpec spec, JobSpecFromJson(facts.spec_json));
  ASSIGN_OR_RETURN(const MeasuredPlans measured, PlaceMeasured(blobs, facts.measured, table, spec));
  ASSIGN_OR_RETURN(json front, ReadJson(blobs, facts.front));
  ParetoFront marks;
  marks.measured = measured.points;
  marks.original_perplexity = measured.original_perplexity;
  const json marked = OwnJson(ParetoFrontToJson(marks));
  for (const char* key : {"measured", "original_perplexity"}) front[key] = marked.at(key);
  return front;
}

}  // namespace

absl::StatusOr<ReportFacts> GatherReportFacts(const JobTable& jobs, const Job& job,
                                              const std::string& artifacts_dir) {
  if (job.record.state() != v1::Job::SUCCEEDED) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "REPORT_NOT_READY",
                     absl::StrCat("job ", job.record.id(), " is ", v1::Job::State_Name(job.record.state())),
                     {{"state", v1::Job::State_Name(job.record.state())}});
  }
  ReportFacts facts;
  facts.job = JobName(job.record.id());
  facts.spec_json = job.record.spec_json();
  facts.model_json = job.record.model_json();
  facts.original_bytes = job.record.original_bytes();
  facts.stages_json = StagesJson(job).dump();
  facts.workers_json = WorkersJson(job).dump();
  facts.artifact_json = ArtifactJson(ViewArtifact(job, artifacts_dir)).dump();
  ASSIGN_OR_RETURN(facts.plan, PublishedPlanOf(job));
  ASSIGN_OR_RETURN(facts.table, job.graph.OutputOf(kAllocateLabel, "table"));
  if (const auto scores = job.graph.OutputOf(kPublishLabel, "scores"); scores.ok()) facts.scores = *scores;
  if (const auto items = job.graph.OutputOf(kPublishLabel, "items"); items.ok()) facts.items = *items;
  if (const auto front = job.graph.OutputOf(kAllocateLabel, "front"); front.ok()) facts.front = *front;
  facts.measured = JobsOfTheSameSolves(jobs, job);
  return facts;
}

absl::StatusOr<std::string> BuildReport(const ReportFacts& facts, BlobStore& blobs) {
  ASSIGN_OR_RETURN(const MappedFile plan_file, blobs.Open(facts.plan));
  ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(plan_file.bytes()));
  ASSIGN_OR_RETURN(const MappedFile table_file, blobs.Open(facts.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(table_file.bytes()));
  json report;
  report["job"] = facts.job;
  report["spec"] = OwnJson(facts.spec_json);
  report["model"] = OwnJson(facts.model_json);
  report["artifact"] = OwnJson(facts.artifact_json);
  report["original_bytes"] = facts.original_bytes;
  report["weight_file_bytes"] = plan.weight_file_bytes;
  report["plan"] = PlanJson(plan);
  report["linears"] = LinearsJson(plan, table);
  report["streams"] = StreamsJson(table);
  report["super_experts"] = SuperExpertsJson(table);
  report["stages"] = OwnJson(facts.stages_json);
  report["workers"] = OwnJson(facts.workers_json);
  if (facts.scores.sha256.empty()) {
    report["scores"] = json::object();
  } else {
    ASSIGN_OR_RETURN(report["scores"], ReadJson(blobs, facts.scores));
    report["items"] = {{"sha256", facts.items.sha256}, {"size", facts.items.size_bytes}};
  }
  if (!facts.front.sha256.empty()) {
    ASSIGN_OR_RETURN(report["pareto"], FrontJson(facts, table, blobs));
  }
  return report.dump();
}

}  // namespace quantmoe
