// prepare: texts to tokens, tokens to the hidden states that enter layer 0, benchmark items to requests.
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/graph/task_graph.h"
#include "plan/model/tensor_problems.h"
#include "plan/model/tensor_views.h"
#include "plan/options/calibration_spec.h"
#include "quant/evaluate/shards.h"
#include "quant/evaluate/text_file.h"
#include "quant/model/decoder.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"
#include "sources/model_uri.h"
#include "text/model_chat_template.h"
#include "text/model_tokenizer.h"

namespace quantmoe {
namespace {

absl::StatusOr<std::string> Text(const TaskArguments& arguments, const std::string& role, BlobStore& blobs) {
  ASSIGN_OR_RETURN(const Digest digest, arguments.Input(role));
  ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
  return std::string(blob.bytes());
}

class Preparation {
 public:
  Preparation(const TaskArguments& arguments, TaskContext& context, OpenedModel model)
      : arguments_(arguments), context_(context), model_(std::move(model)) {}

  absl::StatusOr<TaskOutputs> Run() {
    ASSIGN_OR_RETURN(tokenizer_, OpenTokenizer(model_.checkpoint->directory(), model_.spec.vocab));
    ASSIGN_OR_RETURN(const nlohmann::json add_bos, arguments_.Param<nlohmann::json>("add_bos"));
    if (add_bos.is_boolean()) add_bos_ = add_bos.get<bool>();
    RETURN_IF_ERROR(tokenizer_->CheckAddBos(add_bos_));
    ASSIGN_OR_RETURN(const bool skip, arguments_.Param<bool>("evaluation_skip"));
    RETURN_IF_ERROR(ReadTexts(skip));
    RETURN_IF_ERROR(CheckWeights());
    RETURN_IF_ERROR(StoreCalibration());
    context_.progress(0.5, "calibration");
    if (!skip) RETURN_IF_ERROR(StoreEvaluation());
    ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(PrepareSummaryToJson(summary_)));
    outputs_.push_back({"summary", digest});
    return std::move(outputs_);
  }

 private:
  // Items of a task that are scored; 0: all.
  int64_t Limit(const std::string& task) const {
    const auto limits = arguments_.params().find("limits");
    return limits == arguments_.params().end() ? 0 : limits->value(task, int64_t{0});
  }

  // First, since what is wrong with a text is found in no time.
  absl::Status ReadTexts(bool skip_evaluation) {
    const auto render = ModelChatRenderer(model_.checkpoint->directory());
    ASSIGN_OR_RETURN(const std::string calibration, Text(arguments_, "calibration_text", context_.blobs));
    ASSIGN_OR_RETURN(calibration_text_, ReadTextFile(calibration, "spec.calibration.text", render));
    if (skip_evaluation) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string perplexity, Text(arguments_, "perplexity_text", context_.blobs));
    ASSIGN_OR_RETURN(perplexity_text_, ReadTextFile(perplexity, "spec.evaluation.perplexity_text", render));
    return absl::OkStatus();
  }

  // What the forward pass reads of a checkpoint on disk is read through once, so that NaN is refused before
  // any work. From an object store that would be a download of everything: there only the head is read, and
  // each task checks what it reads.
  absl::Status CheckWeights() {
    CheckpointWeights weights(model_.spec, model_.checkpoint, at::kFloat);
    ASSIGN_OR_RETURN(const std::string text, arguments_.Param<std::string>("model_uri"));
    ASSIGN_OR_RETURN(const ModelUri uri, ParseModelUri(text));
    if (uri.scheme != ModelUri::Scheme::kFile) return OutputHead::Load(model_.spec, weights).status();
    for (const Linear& linear : ListLinears(model_.spec)) {
      RETURN_IF_ERROR(CheckCancelled(context_));
      RETURN_IF_ERROR(LoadLinear(weights, linear).status());
    }
    for (const std::string& name : ListOtherTensors(model_.spec)) {
      RETURN_IF_ERROR(CheckCancelled(context_));
      RETURN_IF_ERROR(weights.Tensor(name).status());
    }
    return absl::OkStatus();
  }

  // Consecutive sequences of the text, tokenized as a whole: [sequences, length] i64. What plans are measured
  // on is taken from behind them.
  absl::StatusOr<at::Tensor> CalibrationIds() {
    ASSIGN_OR_RETURN(const int64_t samples, arguments_.Param<int64_t>("samples"));
    ASSIGN_OR_RETURN(const int length, arguments_.Param<int>("sequence_length"));
    ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->EncodeText(calibration_text_, add_bos_));
    const auto tokens = static_cast<int64_t>(ids.size());
    if (tokens < length) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "CALIBRATION_TEXT_TOO_SHORT",
          absl::StrCat("spec.calibration.text has ", tokens, " tokens; one sequence needs ", length),
          {{"tokens", absl::StrCat(tokens)}, {"sequence_length", absl::StrCat(length)}});
    }
    ASSIGN_OR_RETURN(const int64_t wanted, arguments_.Param<int64_t>("sample_windows"));
    const int64_t window = StartLength(length),
                  windows = std::clamp<int64_t>(tokens / 4 / window, 2, 2 * wanted);
    const int64_t apart = (tokens - windows * window) / length;
    const int64_t sequences = std::min(samples, apart > 0 ? apart : tokens / length);
    const int64_t used = sequences * length;
    // A text that is too short for both is used for both.
    summary_.samples_apart = apart > 0;
    const int64_t behind = std::max<int64_t>(0, std::min(used, tokens - windows * window));
    RETURN_IF_ERROR(StoreSamples({ids.begin() + behind, ids.end()}, window, windows));
    ids.resize(static_cast<size_t>(used));
    return at::tensor(ids, at::kInt).to(at::kLong).view({sequences, length});
  }

  // `windows` spread over `ids`, in turn for the search of a plan and for the verdict on it.
  absl::Status StoreSamples(const std::vector<int32_t>& ids, int64_t window, int64_t windows) {
    const at::Tensor cut = Starts(at::tensor(ids, at::kInt).to(at::kLong), windows, window);
    CheckpointWeights weights(model_.spec, model_.checkpoint, at::kFloat);
    for (const auto& [role, first] : {std::pair("search_sample", 0), std::pair("verdict_sample", 1)}) {
      const at::Tensor half =
          cut.slice(0, std::min<int64_t>(first, cut.size(0) - 1), {}, /*step=*/2).contiguous();
      ASSIGN_OR_RETURN(const at::Tensor hidden, Embed(model_.spec, half, weights));
      const at::Tensor shaped = hidden.view({half.size(0), half.size(1), -1}).contiguous();
      ASSIGN_OR_RETURN(const Digest digest, PutTensors(context_.blobs, {{"hidden", shaped}}));
      outputs_.push_back({role, digest});
      if (first != 0) continue;
      ASSIGN_OR_RETURN(const int64_t probed, arguments_.Param<int64_t>("probe_windows"));
      ASSIGN_OR_RETURN(probe_sample_,
                       PutTensors(context_.blobs, {{"hidden", shaped.slice(0, 0, probed).contiguous()}}));
    }
    return absl::OkStatus();
  }

  // The token that begins every text, where the tokenizer puts one.
  std::optional<int32_t> FirstToken() const {
    return add_bos_.value_or(tokenizer_->adds_bos()) ? tokenizer_->bos_id() : std::nullopt;
  }

  // Short sequences from places spread over `ids`, apart where there is room for all, half of them with the
  // token that begins a text, two after two: [starts, length] i64.
  at::Tensor Starts(const at::Tensor& ids, int64_t count, int64_t length) const {
    const int64_t room = ids.numel() - length;
    count = std::min(count, room + 1);
    std::vector<at::Tensor> starts;
    for (int64_t i = 0; i < count; ++i) {
      at::Tensor start = ids.flatten().narrow(0, i * room / std::max<int64_t>(count - 1, 1), length).clone();
      if (const auto first = FirstToken(); first && i % 4 < 2) start[0] = *first;
      starts.push_back(std::move(start));
    }
    return at::stack(starts);
  }

  absl::Status StoreCalibration() {
    ASSIGN_OR_RETURN(const at::Tensor ids, CalibrationIds());
    ASSIGN_OR_RETURN(const int shard_sequences, arguments_.Param<int>("shard_sequences"));
    RETURN_IF_ERROR(StoreShards(ids, shard_sequences));
    const int starts = arguments_.params().value("starts", 0), length = static_cast<int>(ids.size(1));
    if (starts > 0) {
      RETURN_IF_ERROR(
          StoreShards(Starts(ids, starts, StartLength(length)), StartsOfShard(shard_sequences, length)));
    }
    // The sample of the probes passes the layers as a shard does.
    outputs_.push_back({absl::StrCat("hidden.", summary_.calibration_shards), probe_sample_});
    return absl::OkStatus();
  }

  // `ids` [sequences, length] i64.
  absl::Status StoreShards(const at::Tensor& ids, int64_t shard_sequences) {
    CheckpointWeights weights(model_.spec, model_.checkpoint, at::kFloat);
    for (const at::Tensor& shard : ids.split(shard_sequences)) {
      RETURN_IF_ERROR(CheckCancelled(context_));
      ASSIGN_OR_RETURN(const at::Tensor hidden, Embed(model_.spec, shard, weights));
      const at::Tensor shaped = hidden.view({shard.size(0), shard.size(1), -1}).contiguous();
      ASSIGN_OR_RETURN(const Digest digest, PutStates(arguments_, context_.blobs, {{"hidden", shaped}}));
      outputs_.push_back({absl::StrCat("hidden.", summary_.calibration_shards++), digest});
    }
    summary_.calibration_tokens += ids.numel();
    return absl::OkStatus();
  }

  absl::Status StoreEvaluation() {
    ASSIGN_OR_RETURN(const int window, arguments_.Param<int>("window"));
    ASSIGN_OR_RETURN(const std::vector<std::string> tasks,
                     arguments_.Param<std::vector<std::string>>("tasks"));
    RequestBuilder builder(*tokenizer_, {add_bos_, static_cast<int>(model_.spec.max_position)});
    RETURN_IF_ERROR(builder.AddPerplexity(perplexity_text_, window));
    for (const std::string& name : tasks) {
      ASSIGN_OR_RETURN(const Benchmark benchmark, ParseBenchmark(name));
      ASSIGN_OR_RETURN(const std::string items, Text(arguments_, "task." + name, context_.blobs));
      std::string fewshot;
      if (arguments_.HasInput("fewshot." + name)) {
        ASSIGN_OR_RETURN(fewshot, Text(arguments_, "fewshot." + name, context_.blobs));
      }
      RETURN_IF_ERROR(builder.AddTask(benchmark, items, "task " + name, fewshot, "few-shot items of " + name,
                                      Limit(name)));
    }
    for (const EvalShard& shard : CutShards(std::move(builder).Finish())) {
      for (const EvalSequence& sequence : shard.sequences)
        summary_.evaluation_tokens += static_cast<int64_t>(sequence.ids.size());
      ASSIGN_OR_RETURN(const Digest digest, context_.blobs.Put(SerializeShard(shard)));
      outputs_.push_back({absl::StrCat("requests.", summary_.evaluation_shards++), digest});
    }
    return absl::OkStatus();
  }

  const TaskArguments& arguments_;
  TaskContext& context_;
  const OpenedModel model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<bool> add_bos_;
  std::string calibration_text_;
  std::string perplexity_text_;  // empty without an evaluation
  Digest probe_sample_;
  PrepareSummary summary_;
  TaskOutputs outputs_;
};

}  // namespace

absl::StatusOr<TaskOutputs> RunPrepare(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(OpenedModel model, OpenTaskModel(arguments, context));
  return Preparation(arguments, context, std::move(model)).Run();
}

}  // namespace quantmoe
