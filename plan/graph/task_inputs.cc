#include "plan/graph/task_inputs.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/version.h"
#include "plan/allocate/width_rules.h"
#include "plan/graph/graph_shape.h"
#include "plan/graph/search_rounds.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using Inputs = std::vector<TaskInput>;

// Of every task that opens the model: where it is, and which content the result belongs to.
json ModelParams(const ResolvedJob& job) {
  return {{"model_uri", job.spec.model_uri}, {"fingerprint", job.model_fingerprint}};
}

json LayerParams(const ResolvedJob& job, int layer, unsigned tasks) {
  json params = ModelParams(job);
  params["layer"] = layer;
  AddTaskParams(job.spec, tasks, params);
  return params;
}

// What the choice of widths depends on beside the table.
json ChoiceParams(const ResolvedJob& job) {
  json params = ModelParams(job);
  AddTaskParams(job.spec, kChoiceTasks, params);
  return params;
}

// The hidden states that enter a layer of the original model.
TaskInput HiddenInput(std::string role, int layer, int shard) {
  if (layer == 0) return FromTask(std::move(role), kPrepareLabel, absl::StrCat("hidden.", shard));
  return FromTask(std::move(role), ForwardLabel(layer - 1, shard), "hidden");
}

// The stream that enters a layer behind quantized layers.
TaskInput QuantizedInput(std::string role, int layer, int shard) {
  if (layer == 0) return HiddenInput(std::move(role), layer, shard);
  return FromTask(std::move(role), FeedLabel(layer - 1, shard), "hidden");
}

// The plan that is to be published, with the tensors of the first pass.
TaskInput ChosenPlan(const ResolvedJob& job) {
  return FromTask("plan", HasVerdict(job) ? kVerdictLabel : FoundPlanLabel(SearchRounds(job)), "plan");
}

// The plan with the tensors that are published.
TaskInput FinalPlan(const ResolvedJob& job) {
  return SolvesAgain(job) ? FromTask("plan", kAssembleLabel, "plan") : ChosenPlan(job);
}

// The experts of the part that a pattern names, ascending.
std::vector<int> ExpertsOnAllTokens(const Part& part, const std::vector<std::string>& patterns) {
  std::set<int> experts;
  for (const Linear& linear : part.linears) {
    for (const std::string& pattern : patterns) {
      if (IsExpert(linear.kind) && MatchesPattern(pattern, linear)) experts.insert(linear.expert);
    }
  }
  return {experts.begin(), experts.end()};
}

// As published, unless fewer are asked.
int PredictorEpochs(const std::map<std::string, std::string>& params) {
  const auto asked = params.find("epochs");
  int epochs = 100;
  if (asked != params.end() && absl::SimpleAtoi(asked->second, &epochs)) return std::max(epochs, 1);
  return 100;
}

Inputs AttendInputs(const ResolvedJob& job, const TaskPlace& place) {
  return {QuantizedInput("hidden", place.layer, place.number),
          FromTask("plan.0", ReSolveLabel(PartsOf(job, place.layer).front()), "plan")};
}

Inputs FeedInputs(const ResolvedJob& job, const TaskPlace& place) {
  const std::string attend = AttendLabel(place.layer, place.number);
  Inputs inputs = {FromTask("middle", attend, "middle"), FromTask("ffn_input", attend, "ffn_input")};
  if (job.model.layers[static_cast<size_t>(place.layer)].moe)
    inputs.push_back(FromTask("routing", attend, "routing"));
  for (const Part& part : PartsOf(job, place.layer).subspan(1)) {
    inputs.push_back(FromTask(absl::StrCat("plan.", part.index), ReSolveLabel(part), "plan"));
  }
  return inputs;
}

}  // namespace

json PrepareParams(const ResolvedJob& job, const TaskPlace&) {
  json params = ModelParams(job);
  AddTaskParams(job.spec, kPrepareTasks, params);
  params["files"] = job.files_fingerprint;
  params["tasks"] = json::array();
  params["sample_windows"] = kSampleWindows;
  params["probe_windows"] = kProbeWindows;
  for (const BenchmarkTaskSpec& benchmark : job.spec.evaluation.tasks) {
    if (job.spec.evaluation.skip) break;
    params["tasks"].push_back(benchmark.name);
    if (benchmark.limit > 0) params["limits"][benchmark.name] = benchmark.limit;
  }
  return params;
}

Inputs PrepareInputs(const ResolvedJob& job, const TaskPlace&) {
  const EvaluationSpec& evaluation = job.spec.evaluation;
  Inputs inputs = {FromBlob("calibration_text", job.spec.calibration.text),
                   FromBlob("perplexity_text", evaluation.perplexity_text)};
  for (const BenchmarkTaskSpec& benchmark : evaluation.tasks) {
    if (evaluation.skip) break;
    inputs.push_back(FromBlob("task." + benchmark.name, benchmark.data));
    if (benchmark.fewshot_data.sha256.empty()) continue;
    inputs.push_back(FromBlob("fewshot." + benchmark.name, benchmark.fewshot_data));
  }
  return inputs;
}

json ForwardParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = LayerParams(job, place.layer, kForwardTasks);
  if (place.half == LayerHalf::kAttention) params["half"] = "attention";
  if (place.half == LayerHalf::kFeedForward) params["half"] = "feed_forward";
  if (place.sample) {
    params["sample"] = true;
    params["states"] = "f32";  // what is rounded on the way would show as a divergence
  }
  return params;
}

Inputs ForwardInputs(const ResolvedJob& job, const TaskPlace& place) {
  if (place.half == LayerHalf::kAttention) return AttendInputs(job, place);
  if (place.half == LayerHalf::kFeedForward) return FeedInputs(job, place);
  return {HiddenInput("hidden", place.layer, place.number)};
}

json SolveParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = LayerParams(job, place.part->layer, kSolveTasks);
  params["part"] = place.part->index;
  params["all_tokens"] = ExpertsOnAllTokens(*place.part, job.spec.gptq.all_tokens);
  return params;
}

Inputs SolveInputs(const ResolvedJob&, const TaskPlace& place) {
  const Part& part = *place.part;
  Inputs inputs;
  for (int s = 0; s < place.shards; ++s) {
    if (part.kind == PartKind::kAttention) {
      inputs.push_back(HiddenInput(absl::StrCat("hidden.", s), part.layer, s));
      continue;
    }
    const std::string forward = ForwardLabel(part.layer, s);
    inputs.push_back(FromTask(absl::StrCat("ffn_input.", s), forward, "ffn_input"));
    if (part.kind == PartKind::kExperts)
      inputs.push_back(FromTask(absl::StrCat("routing.", s), forward, "routing"));
  }
  return inputs;
}

json ProbeParams(const ResolvedJob& job, const TaskPlace& place) {
  return LayerParams(job, place.layer, kProbeTasks);
}

// The sample is the shard behind those of calibration.
Inputs ProbeInputs(const ResolvedJob& job, const TaskPlace& place) {
  Inputs inputs = {HiddenInput("last", static_cast<int>(job.model.num_layers()), place.shards)};
  const std::string around = RefineLabel(place.number - 1);
  if (place.number == 0 || place.layer == 0) {
    inputs.push_back(HiddenInput("hidden", place.layer, place.shards));
  } else {
    inputs.push_back(FromTask("hidden", around, absl::StrCat("stream.", place.layer)));
  }
  if (place.number > 0) inputs.push_back(FromTask("plan", around, "around"));
  for (const Part& part : PartsOf(job, place.layer)) {
    inputs.push_back(FromTask(absl::StrCat("table.", part.index), SolveLabel(part), "table"));
  }
  return inputs;
}

json PredictParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = LayerParams(job, place.layer, kPredictTasks);
  params["epochs"] = PredictorEpochs(job.spec.heuristic_params);
  return params;
}

Inputs PredictInputs(const ResolvedJob&, const TaskPlace& place) {
  Inputs inputs;
  for (int s = 0; s < place.shards; ++s) {
    const std::string forward = ForwardLabel(place.layer, s), number = absl::StrCat(".", s);
    inputs.push_back(FromTask("ffn_input" + number, forward, "ffn_input"));
    inputs.push_back(FromTask("routing" + number, forward, "routing"));
  }
  return inputs;
}

json AllocateParams(const ResolvedJob& job, const TaskPlace&) {
  json params = ChoiceParams(job);
  params["reference"] = HasReference(job) || HasVerdict(job);
  return params;
}

Inputs AllocateInputs(const ResolvedJob& job, const TaskPlace& place) {
  Inputs inputs;
  for (const Part& part : job.parts) {
    inputs.push_back(
        FromTask(absl::StrCat("table.", part.layer, ".", part.index), SolveLabel(part), "table"));
  }
  for (int l = 0; WeighsBySensitivity(job) && l < job.model.num_layers(); ++l) {
    inputs.push_back(FromTask(absl::StrCat("sensitivity.", l), ProbeLabel(l), "sensitivity"));
  }
  for (const int l : PredictedLayers(job)) {
    inputs.push_back(FromTask(absl::StrCat("importance.", l), PredictLabel(l), "importance"));
  }
  for (int l = 0; l < job.model.num_layers(); ++l) {
    for (int s = 0; s < place.shards; ++s) {
      const std::string number = absl::StrCat(".", l, ".", s), forward = ForwardLabel(l, s);
      inputs.push_back(FromTask("stream" + number, forward, "stream"));
      if (!job.model.layers[static_cast<size_t>(l)].moe) continue;
      inputs.push_back(FromTask("counts" + number, forward, "counts"));
    }
  }
  return inputs;
}

json RefineParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = ChoiceParams(job);
  params["round"] = place.number;
  params["tries"] = kStepTries;
  params["probe_windows"] = kProbeWindows;
  return params;
}

Inputs RefineInputs(const ResolvedJob& job, const TaskPlace& place) {
  Inputs inputs = {FromTask("table", kAllocateLabel, "table"),
                   FromTask("sample", kPrepareLabel, "search_sample")};
  if (place.number == 0) {
    inputs.push_back(FromTask("plan", kAllocateLabel, "plan"));
    inputs.push_back(FromTask("uniform", kAllocateLabel, "reference"));
    return inputs;
  }
  const std::string before = RefineLabel(place.number - 1);
  inputs.push_back(FromTask("plan", before, "plan"));
  inputs.push_back(FromTask("search", before, "search"));
  for (int l = 0; l < job.model.num_layers(); ++l) {
    inputs.push_back(FromTask(absl::StrCat("sensitivity.", l), ProbeLabel(l, place.number), "sensitivity"));
  }
  return inputs;
}

json VerdictParams(const ResolvedJob& job, const TaskPlace&) {
  json params = ModelParams(job);
  AddTaskParams(job.spec, kVerdictTasks, params);
  params["has_to_win"] = HasToWin(job);
  return params;
}

Inputs VerdictInputs(const ResolvedJob& job, const TaskPlace&) {
  return {FromTask("plan", FoundPlanLabel(SearchRounds(job)), "plan"),
          FromTask("uniform", kAllocateLabel, "reference"),
          FromTask("sample", kPrepareLabel, "verdict_sample"), FromTask("summary", kPrepareLabel, "summary")};
}

json ReSolveParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = SolveParams(job, place);
  AddTaskParams(job.spec, kSecondPassTasks, params);
  return params;
}

Inputs ReSolveInputs(const ResolvedJob& job, const TaskPlace& place) {
  const Part& part = *place.part;
  Inputs inputs = {ChosenPlan(job)};
  for (int s = 0; s < place.shards; ++s) {
    const std::string number = absl::StrCat(".", s);
    if (part.kind == PartKind::kAttention) {
      inputs.push_back(HiddenInput("hidden" + number, part.layer, s));
      inputs.push_back(QuantizedInput("quantized" + number, part.layer, s));
      continue;
    }
    const std::string attend = AttendLabel(part.layer, s);
    inputs.push_back(FromTask("ffn_input" + number, ForwardLabel(part.layer, s), "ffn_input"));
    inputs.push_back(FromTask("quantized" + number, attend, "ffn_input"));
    if (part.kind == PartKind::kExperts) inputs.push_back(FromTask("routing" + number, attend, "routing"));
  }
  return inputs;
}

json AssembleParams(const ResolvedJob& job, const TaskPlace&) {
  json params = json::object();
  AddTaskParams(job.spec, kAssembleTasks, params);
  return params;
}

Inputs AssembleInputs(const ResolvedJob& job, const TaskPlace&) {
  Inputs inputs = {ChosenPlan(job)};
  for (const Part& part : job.parts) {
    inputs.push_back(
        FromTask(absl::StrCat("resolved.", part.layer, ".", part.index), ReSolveLabel(part), "plan"));
  }
  return inputs;
}

json EvaluateParams(const ResolvedJob& job, const TaskPlace& place) {
  json params = ModelParams(job);
  params["weights"] = std::string(place.weights);
  return params;
}

Inputs EvaluateInputs(const ResolvedJob& job, const TaskPlace& place) {
  Inputs inputs = {FromTask("requests", kPrepareLabel, absl::StrCat("requests.", place.number))};
  if (place.weights == "planned") inputs.push_back(FinalPlan(job));
  if (place.weights == "reference") inputs.push_back(FromTask("plan", kAllocateLabel, "reference"));
  return inputs;
}

json PublishParams(const ResolvedJob& job, const TaskPlace&) {
  json params = ModelParams(job);
  params["model_digest"] = job.model_digest;
  params["files"] = job.files_fingerprint;
  params["spec"] = JobSpecJson(job.spec);
  params["spec"].erase("model_uri");
  params["version"] = std::string(kProgramVersion);
  return params;
}

Inputs PublishInputs(const ResolvedJob& job, const TaskPlace& place) {
  Inputs inputs = {FinalPlan(job)};
  for (int i = 0; i < place.shards; ++i) {
    const std::string number = absl::StrCat(".", i);
    inputs.push_back(FromTask("requests" + number, kPrepareLabel, "requests" + number));
    inputs.push_back(FromTask("original" + number, EvaluateLabel("original", i), "scores"));
    inputs.push_back(FromTask("planned" + number, EvaluateLabel("planned", i), "scores"));
    if (HasReference(job))
      inputs.push_back(FromTask("reference" + number, EvaluateLabel("reference", i), "scores"));
  }
  if (HasReference(job) && place.shards > 0)
    inputs.push_back(FromTask("reference_plan", kAllocateLabel, "reference"));
  return inputs;
}

}  // namespace quantmoe
