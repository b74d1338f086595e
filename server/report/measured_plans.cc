#include "server/report/measured_plans.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "plan/graph/task_definition.h"
#include "server/facts/resource_names.h"

namespace quantmoe {
namespace {

// What solving found, task by task: jobs with the same list share a front.
std::vector<std::string> SolvedTables(const Job& job) {
  std::vector<std::string> tables;
  for (const Task& task : job.tasks) {
    if (task.kind() != TaskKind::kSolve) continue;
    const absl::StatusOr<Digest> table = job.graph.OutputOf(task.label(), "table");
    tables.push_back(table.ok() ? table->sha256 : "");
  }
  return tables;
}

// The perplexity of `which` weights, or 0.
double Perplexity(const nlohmann::json& scores, const char* which) {
  const auto pointer = nlohmann::json::json_pointer(absl::StrCat("/", which, "/perplexity/value"));
  return scores.contains(pointer) && scores[pointer].is_number() ? scores[pointer].get<double>() : 0;
}

}  // namespace

absl::StatusOr<Digest> PublishedPlanOf(const Job& job) {
  if (const Task* publish = job.Find(kPublishLabel); publish != nullptr) {
    for (const TaskInput& input : publish->definition().inputs) {
      if (input.role == "plan") return job.graph.OutputOf(input.producer, input.producer_role);
    }
  }
  return MakeError(absl::StatusCode::kInternal, "MISSING_OUTPUT", "the job publishes no plan");
}

std::vector<MeasuredJob> JobsOfTheSameSolves(const JobTable& jobs, const Job& job) {
  const std::vector<std::string> solved = SolvedTables(job);
  std::vector<MeasuredJob> measured;
  for (const auto& [id, other] : jobs.jobs()) {
    if (other.record.state() != v1::Job::SUCCEEDED || SolvedTables(other) != solved) continue;
    const absl::StatusOr<Digest> plan = PublishedPlanOf(other),
                                 scores = other.graph.OutputOf(kPublishLabel, "scores");
    if (plan.ok() && scores.ok()) measured.push_back({JobName(id), *plan, *scores});
  }
  return measured;
}

absl::StatusOr<MeasuredPlans> PlaceMeasured(BlobStore& blobs, const std::vector<MeasuredJob>& jobs,
                                            const DistortionTable& table, const JobSpec& spec) {
  MeasuredPlans measured;
  for (const MeasuredJob& job : jobs) {
    ASSIGN_OR_RETURN(const MappedFile plan_file, blobs.Open(job.plan));
    ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(plan_file.bytes()));
    ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(job.scores));
    const nlohmann::json scores = ParseJson(file.bytes()).value_or(nullptr);
    const double perplexity = Perplexity(scores, "planned");
    const absl::StatusOr<ParetoPoint> point = PlacePlan(table, spec, plan);
    if (!point.ok() || perplexity <= 0) continue;
    measured.points.push_back({job.job, plan.heuristic, *point, perplexity});
    measured.original_perplexity = Perplexity(scores, "original");
  }
  std::sort(measured.points.begin(), measured.points.end(),
            [](const MeasuredPoint& a, const MeasuredPoint& b) {
              return std::tie(a.point.bytes, a.name) < std::tie(b.point.bytes, b.name);
            });
  return measured;
}

}  // namespace quantmoe
