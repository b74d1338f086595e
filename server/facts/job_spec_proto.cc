#include "server/facts/job_spec_proto.h"

#include "absl/strings/str_cat.h"

#include "plan/job/presets.h"

namespace quantmoe {
namespace {

class Reader {
 public:
  Reader(const DefaultTexts& texts, std::vector<FieldViolation>& violations)
      : texts_(texts), violations_(violations) {}

  JobSpec Read(const v1::JobSpec& proto) {
    JobSpec spec;
    spec.model_uri = proto.model().uri();
    spec.budget = ReadBudget(proto.budget());
    spec.heuristic = proto.heuristic().name();
    spec.heuristic_params.insert(proto.heuristic().params().begin(), proto.heuristic().params().end());
    spec.gptq = ReadGptq(proto.gptq());
    spec.calibration = ReadCalibration(proto.calibration());
    spec.evaluation = ReadEvaluation(proto.evaluation());
    if (!proto.runtime_profile().empty()) spec.runtime_profile = proto.runtime_profile();
    for (const v1::WidthRule& rule : proto.rules()) {
      spec.rules.push_back({rule.pattern(), rule.min_bits(), rule.max_bits(), rule.protect()});
    }
    spec.refinement = {proto.refinement().rounds(), proto.refinement().trials()};
    if (!proto.heuristic().preset().empty()) {
      for (FieldViolation& violation : ApplyPreset(proto.heuristic().preset(), spec)) {
        violations_.push_back(std::move(violation));
      }
    }
    return spec;
  }

 private:
  void Violate(std::string field, std::string description) {
    violations_.push_back({std::move(field), std::move(description)});
  }

  static Budget ReadBudget(const v1::BitBudget& proto) {
    Budget budget;
    if (proto.has_average_bits()) budget.average_bits = proto.average_bits();
    if (proto.has_max_bytes()) budget.max_bytes = proto.max_bytes();
    if (proto.has_stored_bits()) budget.stored_bits = proto.stored_bits();
    if (proto.has_rank_bytes()) {
      budget.rank_bytes = {proto.rank_bytes().max_bytes(), proto.rank_bytes().ranks()};
    }
    return budget;
  }

  static GptqSpec ReadGptq(const v1::GptqParams& proto) {
    GptqSpec gptq;
    gptq.group_size = proto.group_size();
    gptq.widths.assign(proto.widths().begin(), proto.widths().end());
    if (proto.damp() != 0) gptq.damp = proto.damp();
    if (proto.order() == v1::GptqParams::NATURAL) gptq.order = ColumnOrder::kNatural;
    if (proto.order() == v1::GptqParams::GROUP) gptq.order = ColumnOrder::kGroup;
    if (proto.scales() == v1::GptqParams::RANGE) gptq.scales = ScaleRule::kRange;
    if (proto.scales() == v1::GptqParams::POSITIVE) gptq.scales = ScaleRule::kPositive;
    if (proto.scales() == v1::GptqParams::SIGNED) gptq.scales = ScaleRule::kSigned;
    if (proto.has_min_tokens_ratio()) gptq.min_tokens_ratio = proto.min_tokens_ratio();
    if (proto.has_max_fallback_ratio()) gptq.max_fallback_ratio = proto.max_fallback_ratio();
    if (proto.propagation() == v1::GptqParams::QUANTIZED) gptq.propagation = Propagation::kQuantized;
    if (proto.has_correction()) gptq.correction = proto.correction();
    if (proto.has_gate_weighted()) gptq.gate_weighted = proto.gate_weighted();
    if (proto.has_shrinkage()) gptq.shrinkage = proto.shrinkage();
    gptq.all_tokens.assign(proto.all_tokens().begin(), proto.all_tokens().end());
    return gptq;
  }

  CalibrationSpec ReadCalibration(const v1::Calibration& proto) {
    CalibrationSpec calibration;
    calibration.text =
        proto.has_text() ? ReadDigest(proto.text(), "spec.calibration.text") : texts_.calibration;
    if (proto.samples() != 0) calibration.samples = proto.samples();
    calibration.sequence_length = proto.sequence_length();
    if (proto.shard_sequences() != 0) calibration.shard_sequences = proto.shard_sequences();
    if (proto.states() == v1::Calibration::BF16) calibration.states = StateType::kBF16;
    return calibration;
  }

  EvaluationSpec ReadEvaluation(const v1::Evaluation& proto) {
    EvaluationSpec evaluation;
    evaluation.skip = proto.skip();
    evaluation.perplexity_text = proto.has_perplexity_text()
                                     ? ReadDigest(proto.perplexity_text(), "spec.evaluation.perplexity_text")
                                     : texts_.heldout;
    evaluation.window = proto.window();
    for (int i = 0; i < proto.tasks_size(); ++i) {
      const std::string field = absl::StrCat("spec.evaluation.tasks[", i, "]");
      BenchmarkTaskSpec& task = evaluation.tasks.emplace_back();
      task.name = proto.tasks(i).name();
      task.data = ReadDigest(proto.tasks(i).data(), field + ".data");
      if (proto.tasks(i).has_fewshot_data()) {
        task.fewshot_data = ReadDigest(proto.tasks(i).fewshot_data(), field + ".fewshot_data");
      }
      task.limit = proto.tasks(i).limit();
    }
    if (proto.has_add_bos()) evaluation.add_bos = proto.add_bos();
    return evaluation;
  }

  Digest ReadDigest(const v1::Digest& proto, const std::string& field) {
    if (!IsSha256(proto.sha256())) {
      Violate(field + ".sha256", "must be 64 lower-case hexadecimal characters");
    } else if (proto.size_bytes() < 0) {
      Violate(field + ".size_bytes", absl::StrCat("must not be negative: ", proto.size_bytes()));
    }
    return {proto.sha256(), proto.size_bytes()};
  }

  const DefaultTexts& texts_;
  std::vector<FieldViolation>& violations_;
};

void WriteDigest(const Digest& digest, v1::Digest& proto) {
  proto.set_sha256(digest.sha256);
  proto.set_size_bytes(digest.size_bytes);
}

void WriteBudget(const Budget& budget, v1::BitBudget& proto) {
  if (budget.average_bits) proto.set_average_bits(*budget.average_bits);
  if (budget.max_bytes) proto.set_max_bytes(*budget.max_bytes);
  if (budget.stored_bits) proto.set_stored_bits(*budget.stored_bits);
  if (!budget.rank_bytes) return;
  proto.mutable_rank_bytes()->set_max_bytes(budget.rank_bytes->max_bytes);
  proto.mutable_rank_bytes()->set_ranks(budget.rank_bytes->ranks);
}

v1::GptqParams::ColumnOrder ToProto(ColumnOrder order) {
  switch (order) {
    case ColumnOrder::kNatural:
      return v1::GptqParams::NATURAL;
    case ColumnOrder::kActivation:
      return v1::GptqParams::ACTIVATION;
    case ColumnOrder::kGroup:
      return v1::GptqParams::GROUP;
  }
  return v1::GptqParams::COLUMN_ORDER_UNSPECIFIED;
}

v1::GptqParams::ScaleRule ToProto(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::kAuto:
      return v1::GptqParams::SCALE_RULE_UNSPECIFIED;
    case ScaleRule::kRange:
      return v1::GptqParams::RANGE;
    case ScaleRule::kPositive:
      return v1::GptqParams::POSITIVE;
    case ScaleRule::kSigned:
      return v1::GptqParams::SIGNED;
  }
  return v1::GptqParams::SCALE_RULE_UNSPECIFIED;
}

void WriteGptq(const GptqSpec& gptq, v1::GptqParams& proto) {
  proto.set_group_size(gptq.group_size);
  proto.mutable_widths()->Add(gptq.widths.begin(), gptq.widths.end());
  proto.set_damp(gptq.damp);
  proto.set_order(ToProto(gptq.order));
  proto.set_scales(ToProto(gptq.scales));
  proto.set_min_tokens_ratio(gptq.min_tokens_ratio);
  proto.set_max_fallback_ratio(gptq.max_fallback_ratio);
  proto.set_propagation(gptq.propagation == Propagation::kQuantized ? v1::GptqParams::QUANTIZED
                                                                    : v1::GptqParams::ORIGINAL);
  proto.set_correction(gptq.correction);
  proto.set_gate_weighted(gptq.gate_weighted);
  proto.set_shrinkage(gptq.shrinkage);
  proto.mutable_all_tokens()->Add(gptq.all_tokens.begin(), gptq.all_tokens.end());
}

void WriteCalibration(const CalibrationSpec& calibration, v1::Calibration& proto) {
  WriteDigest(calibration.text, *proto.mutable_text());
  proto.set_samples(calibration.samples);
  proto.set_sequence_length(calibration.sequence_length);
  proto.set_shard_sequences(calibration.shard_sequences);
  proto.set_states(calibration.states == StateType::kBF16 ? v1::Calibration::BF16 : v1::Calibration::F32);
}

void WriteEvaluation(const EvaluationSpec& evaluation, v1::Evaluation& proto) {
  proto.set_skip(evaluation.skip);
  WriteDigest(evaluation.perplexity_text, *proto.mutable_perplexity_text());
  proto.set_window(evaluation.window);
  if (evaluation.add_bos) proto.set_add_bos(*evaluation.add_bos);
  for (const BenchmarkTaskSpec& task : evaluation.tasks) {
    v1::BenchmarkTask& added = *proto.add_tasks();
    added.set_name(task.name);
    added.set_limit(task.limit);
    WriteDigest(task.data, *added.mutable_data());
    if (!task.fewshot_data.sha256.empty()) WriteDigest(task.fewshot_data, *added.mutable_fewshot_data());
  }
}

}  // namespace

v1::JobSpec JobSpecToProto(const JobSpec& spec) {
  v1::JobSpec proto;
  proto.mutable_model()->set_uri(spec.model_uri);
  WriteBudget(spec.budget, *proto.mutable_budget());
  proto.mutable_heuristic()->set_name(spec.heuristic);
  proto.mutable_heuristic()->mutable_params()->insert(spec.heuristic_params.begin(),
                                                      spec.heuristic_params.end());
  WriteGptq(spec.gptq, *proto.mutable_gptq());
  WriteCalibration(spec.calibration, *proto.mutable_calibration());
  WriteEvaluation(spec.evaluation, *proto.mutable_evaluation());
  proto.set_runtime_profile(spec.runtime_profile);
  for (const WidthRule& rule : spec.rules) {
    v1::WidthRule& added = *proto.add_rules();
    added.set_pattern(rule.pattern);
    added.set_min_bits(rule.min_bits);
    added.set_max_bits(rule.max_bits);
    added.set_protect(rule.protect);
  }
  if (spec.refinement.rounds == 0 && spec.refinement.trials == 0) return proto;
  proto.mutable_refinement()->set_rounds(spec.refinement.rounds);
  proto.mutable_refinement()->set_trials(spec.refinement.trials);
  return proto;
}

JobSpec JobSpecFromProto(const v1::JobSpec& proto, const DefaultTexts& texts,
                         std::vector<FieldViolation>& violations) {
  return Reader(texts, violations).Read(proto);
}

std::vector<NamedBlob> NamedBlobs(const JobSpec& spec) {
  std::vector<NamedBlob> blobs;
  const auto add = [&](std::string field, const Digest& digest) {
    if (IsSha256(digest.sha256)) blobs.push_back({std::move(field), digest});
  };
  add("spec.calibration.text", spec.calibration.text);
  if (spec.evaluation.skip) return blobs;
  add("spec.evaluation.perplexity_text", spec.evaluation.perplexity_text);
  for (size_t i = 0; i < spec.evaluation.tasks.size(); ++i) {
    const std::string field = absl::StrCat("spec.evaluation.tasks[", i, "]");
    add(field + ".data", spec.evaluation.tasks[i].data);
    add(field + ".fewshot_data", spec.evaluation.tasks[i].fewshot_data);
  }
  return blobs;
}

}  // namespace quantmoe
