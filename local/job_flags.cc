#include "local/job_flags.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "local/model_input.h"
#include "plan/job/shipped_prose.h"
#include "sources/data_file.h"

namespace quantmoe {
namespace {

// Where texts and items are read from, and where they go.
struct UserData {
  const ModelSources& sources;
  LocalBlobStore& blobs;

  absl::StatusOr<Digest> Put(const char* flag, const std::string& path) const {
    const absl::StatusOr<std::string> bytes = ReadUserData(path, sources);
    if (bytes.ok()) return blobs.Put(*bytes);
    const std::vector<FieldViolation> bad = GetErrorInfo(bytes.status()).violations;
    if (!bad.empty()) return InvalidFields({{flag, bad.front().description}});
    if (IsDataUri(path)) return Annotate(bytes.status(), flag);
    return InvalidFields({{flag, std::string(bytes.status().message())}});
  }
};

absl::Status AddTasks(const JobFlags& flags, const UserData& data, EvaluationSpec& evaluation) {
  ASSIGN_OR_RETURN(const auto tasks, ParsePairs(flags.tasks, "--task"));
  ASSIGN_OR_RETURN(const auto fewshot, ParsePairs(flags.fewshot, "--fewshot"));
  for (const auto& [name, file] : fewshot) {
    if (!tasks.contains(name)) return InvalidFields({{"--fewshot", absl::StrCat("there is no task ", name)}});
  }
  for (const auto& [name, file] : tasks) {
    BenchmarkTaskSpec task{name, {}, {}, flags.limit};
    ASSIGN_OR_RETURN(task.data, data.Put("--task", file));
    if (fewshot.contains(name)) {
      ASSIGN_OR_RETURN(task.fewshot_data, data.Put("--fewshot", fewshot.at(name)));
    }
    evaluation.tasks.push_back(std::move(task));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<JobSpec> MakeSpec(const JobFlags& flags, const ModelSources& sources, LocalBlobStore& blobs) {
  const UserData data{sources, blobs};
  JobSpec spec = flags.spec;
  spec.model_uri = AbsoluteUri(flags.model);
  RETURN_IF_ERROR(ReadPlanFlags(flags.plan, spec));
  ASSIGN_OR_RETURN(spec.gptq.order, ParseColumnOrder(flags.order));
  ASSIGN_OR_RETURN(spec.gptq.scales, ParseScaleRule(flags.scales));
  ASSIGN_OR_RETURN(spec.calibration.states, ParseStateType(flags.states));
  ASSIGN_OR_RETURN(spec.gptq.propagation, ParsePropagation(flags.propagation));
  ASSIGN_OR_RETURN(spec.calibration.text, flags.calibration.empty()
                                              ? data.blobs.Put(ShippedCalibrationProse())
                                              : data.Put("--calibration", flags.calibration));
  ASSIGN_OR_RETURN(spec.evaluation.perplexity_text, flags.text.empty() ? data.blobs.Put(ShippedHeldoutProse())
                                                                       : data.Put("--text", flags.text));
  if (flags.add_bos || flags.no_add_bos) spec.evaluation.add_bos = flags.add_bos;
  RETURN_IF_ERROR(AddTasks(flags, data, spec.evaluation));
  return spec;
}

void AddJobFlags(CLI::App& command, JobFlags& flags) {
  command.add_option("--model", flags.model, "model directory or URI")->required();
  command.add_option("--group-size", flags.spec.gptq.group_size, "32, 64 or 128; 0: the largest that fits");
  command.add_option("--widths", flags.spec.gptq.widths, "candidate widths, e.g. 2,3,4,8")->delimiter(',');
  command.add_option("--damp", flags.spec.gptq.damp, "share of the mean diagonal that is added to it");
  command.add_option("--order", flags.order, "of columns: natural, activation or group");
  command.add_option("--scales", flags.scales,
                     "of a group: auto, positive, signed (of either sign) or range");
  command.add_option("--min-tokens-ratio", flags.spec.gptq.min_tokens_ratio,
                     "fewer tokens than this share of the width: round");
  command.add_option("--max-fallback-ratio", flags.spec.gptq.max_fallback_ratio,
                     "more fallbacks than this share: fail");
  command.add_flag("--gate-weighted", flags.spec.gptq.gate_weighted,
                   "tokens count for an expert by the square of their router weight");
  command.add_option("--shrinkage", flags.spec.gptq.shrinkage,
                     "pull of a cold expert's Hessian toward its layer's, in tokens a channel");
  command.add_option("--all-tokens", flags.spec.gptq.all_tokens,
                     "PATTERN: experts that all tokens of their layer calibrate, routed or not");
  command.add_option("--propagation", flags.propagation,
                     "original: all layers at once; quantized: each layer on the output of quantized ones");
  command.add_option("--correction", flags.spec.gptq.correction,
                     "quantized propagation: share of the inputs' drift that weights make up for, 0 to 1");
  command.add_option("--refine-rounds", flags.spec.refinement.rounds,
                     "rounds of a search that keeps what measures better on held-out text; 0: none");
  command.add_option("--refine-trials", flags.spec.refinement.trials, "plans that a round measures; 0: 16");
  command
      .add_option("--calibration", flags.calibration,
                  "text, or rows of text or conversations (JSON lines, JSON, Parquet): a file "
                  "or\nhf://datasets/owner/name@revision/path; default: the shipped prose")
      ->type_name("FILE");
  command.add_option("--samples", flags.spec.calibration.samples, "calibration sequences");
  command.add_option("--sequence-length", flags.spec.calibration.sequence_length,
                     "tokens of each; 0: min(2048, context)");
  command.add_option("--states", flags.states, "type of activations between tasks: f32 or bf16");
  command.add_option("--shard-sequences", flags.spec.calibration.shard_sequences, "sequences of one shard");
  command.add_option("--text", flags.text, "perplexity text, likewise; default: the shipped held-out prose")
      ->type_name("FILE");
  command.add_option("--window", flags.spec.evaluation.window,
                     "tokens of a perplexity window; 0: min(2048, context)");
  command
      .add_option("--task", flags.tasks,
                  "benchmark items, JSON lines or Parquet, NAME=FILE or NAME=hf://datasets/...")
      ->type_name("NAME=FILE");
  command.add_option("--fewshot", flags.fewshot, "items for few-shot prompts, NAME=FILE")
      ->type_name("NAME=FILE");
  command.add_option("--limit", flags.limit, "only the first so many items of each task")
      ->check(CLI::PositiveNumber);
  command.add_flag("--add-bos", flags.add_bos,
                   "put the beginning-of-sequence token before texts and prompts");
  command.add_flag("--no-add-bos", flags.no_add_bos, "never put it")->excludes("--add-bos");
  command.add_flag("--no-evaluation", flags.spec.evaluation.skip, "skip the measurement");
}

}  // namespace quantmoe
