// publish: from a plan and the scores to the files of the artifact and the manifest that names them. Nothing
// in them depends on time, place or workers.
#include <algorithm>

#include "absl/strings/str_format.h"

#include "base/json.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/model/tensor_views.h"
#include "quant/artifact/gptq_config.h"
#include "quant/artifact/model_card.h"
#include "quant/artifact/writer.h"
#include "quant/evaluate/intervals.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/run_task.h"

namespace quantmoe {
namespace {

using nlohmann::ordered_json;

// The scores of one set of weights over all shards.
absl::StatusOr<EvalReport> MergeScores(const TaskArguments& arguments, const std::string& series,
                                       BlobStore& blobs) {
  const std::vector<Digest> requests = arguments.InputSeries("requests"),
                            scores = arguments.InputSeries(series);
  ScoreMerger merger;
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSIGN_OR_RETURN(const MappedFile request_blob, blobs.Open(requests[i]));
    ASSIGN_OR_RETURN(const MappedFile score_blob, blobs.Open(scores.at(i)));
    ASSIGN_OR_RETURN(const EvalShard shard,
                     ParseShard({request_blob.bytes().data(), request_blob.bytes().size()}));
    ASSIGN_OR_RETURN(const ShardScores parsed,
                     ParseScores({score_blob.bytes().data(), score_blob.bytes().size()}));
    RETURN_IF_ERROR(merger.Add(shard, parsed));
  }
  return merger.Finish();
}

// The plan for readers of the artifact: without the blobs it came from.
ordered_json PublicPlan(const BitPlan& plan) {
  ordered_json json = OwnOrderedJson(BitPlanToJson(plan));
  for (auto& linear : json["linears"]) linear.erase("blob");
  return json;
}

// Judges by perplexity, which has far more samples than any benchmark: {"recommends": "plan", "uniform" or
// "either", "text"}.
nlohmann::json Verdict(const nlohmann::json& reference, const std::vector<ScoreComparison>& comparison) {
  const auto found = std::find_if(comparison.begin(), comparison.end(),
                                  [](const ScoreComparison& score) { return score.task == kPerplexityTask; });
  if (found == comparison.end()) return nullptr;
  const PairedInterval& change = found->interval;
  const std::string uniform = absl::StrCat("uniform ", reference.at("bits").get<int>(), " bits (",
                                           reference.at("weight_file_bytes").get<int64_t>(), " bytes)");
  const std::string figures =
      absl::StrFormat("perplexity %.3f against %.3f, change %+.3f, 95%% interval [%+.3f, %+.3f]",
                      change.after, change.before, change.difference, change.low, change.high);
  if (change.high < 0) {
    return {{"recommends", "plan"}, {"text", absl::StrCat("The plan beats ", uniform, ": ", figures, ".")}};
  }
  if (change.low > 0) {
    return {{"recommends", "uniform"},
            {"text", absl::StrCat("The plan is worse than ", uniform, ": ", figures, ". Use uniform.")}};
  }
  return {{"recommends", "either"},
          {"text", absl::StrCat("No difference from ", uniform, " can be shown: ", figures,
                                ". Uniform is the simpler choice.")}};
}

class Publication {
 public:
  Publication(const TaskArguments& arguments, TaskContext& context, OpenedModel model)
      : arguments_(arguments), context_(context), model_(std::move(model)) {}

  absl::StatusOr<TaskOutputs> Run() {
    ASSIGN_OR_RETURN(version_, arguments_.Param<std::string>("version"));
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input("plan"));
    ASSIGN_OR_RETURN(const MappedFile text, context_.blobs.Open(digest));
    ASSIGN_OR_RETURN(plan_, BitPlanFromJson(text.bytes()));
    RETURN_IF_ERROR(CollectScores());
    ASSIGN_OR_RETURN(files_, WriteWeightFiles(plan_, model_.spec, *model_.checkpoint, context_.blobs));
    context_.progress(0.9, "weights");
    RETURN_IF_ERROR(CheckCancelled(context_));
    ASSIGN_OR_RETURN(std::vector<ArtifactPart> copied, CopyModelFiles(*model_.checkpoint, context_.blobs));
    for (ArtifactPart& part : copied) {
      carried_.push_back(part.path);
      files_.push_back(std::move(part));
    }
    RETURN_IF_ERROR(WriteDocuments());
    return Outputs();
  }

 private:
  absl::Status CollectScores() {
    scores_ = nlohmann::json::object();
    if (arguments_.InputSeries("requests").empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const EvalReport original, MergeScores(arguments_, "original", context_.blobs));
    ASSIGN_OR_RETURN(const EvalReport planned, MergeScores(arguments_, "planned", context_.blobs));
    const BootstrapOptions options;
    ASSIGN_OR_RETURN(const auto comparison, CompareScores(original, planned, options));
    scores_ = {{"original", OwnJson(ScoresToJson(original))},
               {"planned", OwnJson(ScoresToJson(planned))},
               {"comparison", OwnJson(ComparisonToJson(comparison, options))}};
    items_ = ItemsToJsonLines(original, "original") + ItemsToJsonLines(planned, "planned");
    return arguments_.HasInput("reference_plan") ? CompareWithUniform(planned) : absl::OkStatus();
  }

  // Puts the uniform plan of the same budget beside the plan, and says which of them the measurement favours.
  absl::Status CompareWithUniform(const EvalReport& planned) {
    ASSIGN_OR_RETURN(const Digest digest, arguments_.Input("reference_plan"));
    ASSIGN_OR_RETURN(const MappedFile text, context_.blobs.Open(digest));
    ASSIGN_OR_RETURN(const BitPlan plan, BitPlanFromJson(text.bytes()));
    ASSIGN_OR_RETURN(const EvalReport reference, MergeScores(arguments_, "reference", context_.blobs));
    const BootstrapOptions options;
    ASSIGN_OR_RETURN(const auto comparison, CompareScores(reference, planned, options));
    scores_["reference"] = {{"bits", plan.linears.empty() ? 0 : plan.linears.front().width},
                            {"weight_file_bytes", plan.weight_file_bytes},
                            {"loss", plan.loss},
                            {"scores", OwnJson(ScoresToJson(reference))},
                            {"comparison", OwnJson(ComparisonToJson(comparison, options))}};
    scores_["verdict"] = Verdict(scores_["reference"], comparison);
    items_ += ItemsToJsonLines(reference, "reference");
    return absl::OkStatus();
  }

  absl::Status AddFile(const std::string& path, const std::string& bytes) {
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(bytes));
    files_.push_back({path, digest});
    return absl::OkStatus();
  }

  absl::Status WriteDocuments() {
    ASSIGN_OR_RETURN(const nlohmann::json spec, arguments_.Param<nlohmann::json>("spec"));
    const ordered_json config = GptqConfig(plan_, model_.spec, KeptTensors(model_.spec, *model_.checkpoint),
                                           spec.value("gptq", nlohmann::json::object()), version_);
    RETURN_IF_ERROR(AddFile("config.json", QuantizedModelConfig(model_.config_json, config)));
    RETURN_IF_ERROR(AddFile("quantize_config.json", config.dump(2) + "\n"));
    RETURN_IF_ERROR(AddFile("quantmoe_plan.json", PublicPlan(plan_).dump(1) + "\n"));
    if (!scores_.empty()) RETURN_IF_ERROR(AddFile("quantmoe_scores.json", scores_.dump(2) + "\n"));
    return AddFile("README.md",
                   ModelCard(plan_, model_.spec, scores_, model_.checkpoint->total_bytes(), version_) +
                       CarriedFilesTable(carried_));
  }

  absl::StatusOr<TaskOutputs> Outputs() {
    std::sort(files_.begin(), files_.end(),
              [](const ArtifactPart& a, const ArtifactPart& b) { return a.path < b.path; });
    ASSIGN_OR_RETURN(const std::string model_digest, arguments_.Param<std::string>("model_digest"));
    ordered_json manifest = {{"format", "quantmoe.artifact"},
                             {"version", 1},
                             {"quantmoe", version_},
                             {"model_digest", model_digest},
                             {"determinism_class", DeterminismClass(*context_.device)},
                             {"spec", arguments_.params().at("spec")},
                             {"files", ordered_json::array()}};
    TaskOutputs outputs;
    for (size_t i = 0; i < files_.size(); ++i) {
      manifest["files"].push_back({{"path", files_[i].path},
                                   {"sha256", files_[i].digest.sha256},
                                   {"size", files_[i].digest.size_bytes}});
      outputs.push_back({absl::StrCat("file.", i), files_[i].digest});
    }
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(manifest.dump(2) + "\n"));
    outputs.push_back({"manifest", digest});
    if (!scores_.empty()) {
      ASSIGN_OR_RETURN(const Digest scores, context_.blobs.Put(scores_.dump()));
      outputs.push_back({"scores", scores});
      ASSIGN_OR_RETURN(const Digest items, context_.blobs.Put(items_));
      outputs.push_back({"items", items});
    }
    return outputs;
  }

  const TaskArguments& arguments_;
  TaskContext& context_;
  const OpenedModel model_;
  std::string version_;
  BitPlan plan_;
  nlohmann::json scores_;
  std::string items_;  // of the original and of the planned weights
  std::vector<ArtifactPart> files_;
  std::vector<std::string> carried_;  // paths of files of the source
};

}  // namespace

absl::StatusOr<TaskOutputs> RunPublish(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(OpenedModel model, OpenTaskModel(arguments, context));
  return Publication(arguments, context, std::move(model)).Run();
}

}  // namespace quantmoe
