#include "server/report/job_pareto.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/job/pareto.h"
#include "plan/model/model_config.h"
#include "plan/model/tensor_views.h"
#include "plan/options/spec_json.h"
#include "server/report/job_report.h"

namespace quantmoe {
namespace {

constexpr int kDefaultPoints = 24;

}  // namespace

absl::StatusOr<ParetoFacts> GatherParetoFacts(const JobTable& jobs, const Job& job,
                                              const std::string& artifacts_dir) {
  ASSIGN_OR_RETURN(ReportFacts own, GatherReportFacts(jobs, job, artifacts_dir));
  return ParetoFacts{std::move(own.spec_json), own.table, std::move(own.measured)};
}

absl::StatusOr<v1::JobPareto> BuildPareto(ServiceContext& context, const ParetoFacts& facts, int points) {
  if (points == 0) points = kDefaultPoints;
  if (points < 2 || points > kMaxParetoPoints) {
    return InvalidFields(
        {{"points", absl::StrCat("is ", points, ", must be in [2, ", kMaxParetoPoints, "]")}});
  }
  ASSIGN_OR_RETURN(const JobSpec spec, JobSpecFromJson(facts.spec_json));
  ASSIGN_OR_RETURN(const JobModel opened, OpenJobModel(spec.model_uri, context.models));
  ASSIGN_OR_RETURN(const ModelSpec model, ParseModelConfig(opened.config_json));
  const std::vector<TensorInfo> kept = KeptTensors(model, *opened.checkpoint);
  ASSIGN_OR_RETURN(const MappedFile file, context.blobs().Open(facts.table));
  ASSIGN_OR_RETURN(const DistortionTable table, DistortionTableFromJson(file.bytes()));
  ASSIGN_OR_RETURN(ParetoFront front, TraceFront(table, spec, kept, points));
  ASSIGN_OR_RETURN(MeasuredPlans measured, PlaceMeasured(context.blobs(), facts.measured, table, spec));
  front.measured = std::move(measured.points);
  front.original_perplexity = measured.original_perplexity;
  v1::JobPareto pareto;
  pareto.set_json(ParetoFrontToJson(front));
  pareto.set_text(DrawFrontAsText(front));
  pareto.set_svg(DrawFrontAsSvg(front));
  return pareto;
}

}  // namespace quantmoe
