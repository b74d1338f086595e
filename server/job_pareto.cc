#include "server/job_pareto.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/pareto.h"
#include "plan/tensor_views.h"
#include "server/job_report.h"
#include "server/resource_names.h"
#include "server/task_inputs.h"

namespace quantmoe {
namespace {

constexpr int kDefaultPoints = 24;

// What solving found, task by task: jobs with the same list share a front.
std::vector<std::string> SolvedTables(const Job& job) {
  std::vector<std::string> tables;
  for (const Task& task : job.tasks) {
    if (task.definition.kind() != "solve") continue;
    const v1::Digest* table = FindOutput(task, "table");
    tables.push_back(table == nullptr ? "" : table->sha256());
  }
  return tables;
}

absl::StatusOr<std::vector<TensorInfo>> KeptTensorsOf(Core& core, const JobSpec& spec) {
  ASSIGN_OR_RETURN(std::unique_ptr<ModelDirectory> directory, OpenModel(spec.model_uri, core.models));
  ASSIGN_OR_RETURN(const std::string config, directory->ReadAll("config.json"));
  ASSIGN_OR_RETURN(const ModelSpec model, ParseModelConfig(config));
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, Checkpoint::Open(std::move(directory)));
  return KeptTensors(model, *checkpoint);
}

// The perplexity of `which` weights, or 0.
double Perplexity(const nlohmann::json& scores, const char* which) {
  const auto pointer = nlohmann::json::json_pointer(absl::StrCat("/", which, "/perplexity/value"));
  return scores.contains(pointer) && scores[pointer].is_number() ? scores[pointer].get<double>() : 0;
}

absl::Status AddMeasured(Core& core, const ParetoFacts& facts, const DistortionTable& table,
                         const JobSpec& spec, ParetoFront& front) {
  for (const ParetoFacts::Measured& measured : facts.measured) {
    ASSIGN_OR_RETURN(const MappedFile plan_file, core.blobs.Open(measured.plan));
    ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(plan_file.bytes()));
    ASSIGN_OR_RETURN(const MappedFile file, core.blobs.Open(measured.scores));
    const auto scores = nlohmann::json::parse(file.bytes().begin(), file.bytes().end(), nullptr, false);
    const double perplexity = Perplexity(scores, "planned");
    const absl::StatusOr<ParetoPoint> point = PlacePlan(table, spec, plan);
    if (!point.ok() || perplexity <= 0) continue;
    front.measured.push_back({measured.job, plan.heuristic, *point, perplexity});
    front.original_perplexity = Perplexity(scores, "original");
  }
  std::sort(front.measured.begin(), front.measured.end(), [](const MeasuredPoint& a, const MeasuredPoint& b) {
    return std::tie(a.point.bytes, a.name) < std::tie(b.point.bytes, b.name);
  });
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ParetoFacts> GatherParetoFacts(const JobTable& jobs, const Job& job,
                                              const std::string& artifacts_dir) {
  ASSIGN_OR_RETURN(const ReportFacts own, GatherReportFacts(job, artifacts_dir));
  ParetoFacts facts{own.spec_json, own.table, {}};
  const std::vector<std::string> solved = SolvedTables(job);
  for (const auto& [id, other] : jobs.jobs()) {
    if (other.record.state() != v1::Job::SUCCEEDED || SolvedTables(other) != solved) continue;
    const absl::StatusOr<ReportFacts> report = GatherReportFacts(other, artifacts_dir);
    if (!report.ok() || report->scores.sha256.empty()) continue;
    facts.measured.push_back({JobName(id), report->plan, report->scores});
  }
  return facts;
}

absl::StatusOr<v1::JobPareto> BuildPareto(Core& core, const ParetoFacts& facts, int points) {
  if (points == 0) points = kDefaultPoints;
  if (points < 2 || points > kMaxParetoPoints) {
    return InvalidFields(
        {{"points", absl::StrCat("is ", points, ", must be in [2, ", kMaxParetoPoints, "]")}});
  }
  ASSIGN_OR_RETURN(const JobSpec spec, JobSpecFromJson(facts.spec_json));
  ASSIGN_OR_RETURN(const std::vector<TensorInfo> kept, KeptTensorsOf(core, spec));
  ASSIGN_OR_RETURN(const MappedFile file, core.blobs.Open(facts.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(file.bytes()));
  ASSIGN_OR_RETURN(ParetoFront front, TraceFront(table, spec, kept, points));
  RETURN_IF_ERROR(AddMeasured(core, facts, table, spec, front));
  v1::JobPareto pareto;
  pareto.set_json(ParetoFrontToJson(front));
  pareto.set_text(DrawFrontAsText(front));
  pareto.set_svg(DrawFrontAsSvg(front));
  return pareto;
}

}  // namespace quantmoe
