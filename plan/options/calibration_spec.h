// The text that calibrates: the message Calibration of proto/quantmoe/v1/types.proto.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "plan/options/digest_options.h"
#include "plan/options/option.h"

namespace quantmoe {

// In which type the activations of calibration travel from task to task. All arithmetic is f32; bf16 halves
// what is stored and sent, and rounds the stream after every layer.
enum class StateType { kF32, kBF16 };
constexpr std::array<absl::string_view, 2> ChoiceNames(StateType) { return {"f32", "bf16"}; }

inline constexpr int kMaxSamples = 1 << 20;
inline constexpr int kMaxSequenceLength = 1 << 24;
inline constexpr int kMaxShardSequences = 4096;
// Tokens of a start, and starts that fill a shard as sequences of `sequence_length` do.
constexpr int StartLength(int sequence_length) { return std::min(64, sequence_length); }
constexpr int StartsOfShard(int shard_sequences, int sequence_length) {
  return static_cast<int>(int64_t{shard_sequences} * sequence_length / StartLength(sequence_length));
}

struct CalibrationSpec {
  Digest text;  // always set once the spec is resolved
  int samples = 128;
  int sequence_length = 0;  // 0: min(2048, context)
  int shard_sequences = 8;
  StateType states = StateType::kF32;
  std::optional<int> starts = {};  // sequences of StartLength tokens beside the others; unset: DefaultStarts
  std::string text_uri = {};       // a file that stands for `text`

  friend bool operator==(const CalibrationSpec&, const CalibrationSpec&) = default;
};

// Tokens of all starts, once the spec is resolved.
inline int64_t StartTokens(const CalibrationSpec& calibration) {
  return int64_t{calibration.starts.value_or(0)} * StartLength(calibration.sequence_length);
}

template <SpecOf<CalibrationSpec> Spec, typename Visit>
void VisitOptions(Spec& calibration, Visit& visit) {
  visit(OptionInfo{.name = "text", .help = "Digest of the calibration text", .kept = Kept::kAlways},
        calibration.text);
  visit(OptionInfo{.name = "text_uri",
                   .flag = "--calibration",
                   .group = HelpGroup::kCalibration,
                   .help = "Calibration text (UTF-8), or rows (JSON lines, Parquet), here or at "
                           "hf://datasets/owner/name@revision/path",
                   .unset = "shipped prose",
                   .value = "FILE",
                   .kept = Kept::kNever,
                   .typed = Typed::kAsFile},
        calibration.text_uri);
  visit(OptionInfo{.name = "samples",
                   .flag = "--samples",
                   .group = HelpGroup::kCalibration,
                   .help = "Calibration sequences",
                   .range = Between(1, kMaxSamples),
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks},
        calibration.samples);
  visit(OptionInfo{.name = "sequence_length",
                   .flag = "--sequence-length",
                   .group = HelpGroup::kCalibration,
                   .help = "Tokens of a calibration sequence",
                   .unset = "the model's context, 2048 at most",
                   .range = Between(0, kMaxSequenceLength),
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks | kPredictTasks},
        calibration.sequence_length);
  visit(OptionInfo{.name = "shard_sequences",
                   .flag = "--shard-sequences",
                   .group = HelpGroup::kCalibration,
                   .help = "Sequences of one shard",
                   .range = Between(1, kMaxShardSequences),
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks},
        calibration.shard_sequences);
  visit(OptionInfo{.name = "states",
                   .flag = "--states",
                   .group = HelpGroup::kCalibration,
                   .help = "Type in which activations travel from task to task: f32, or bf16 for half of the "
                           "bytes",
                   .kept = Kept::kAlways,
                   .tasks = kPrepareTasks | kForwardTasks},
        calibration.states);
  visit(OptionInfo{.name = "starts",
                   .flag = "--starts",
                   .group = HelpGroup::kCalibration,
                   .help = "Short calibration sequences, of 64 tokens, beside the others: they show what the "
                           "first token of a sequence does",
                   .unset = "512 sequences in all, of a quarter of the tokens at most",
                   .range = Between(0, kMaxSamples),
                   .tasks = kPrepareTasks},
        calibration.starts);
}

}  // namespace quantmoe
