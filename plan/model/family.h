// The families of models, as records in one table (families.cc): all that differs between them before, and
// beside, what is read from config.json. A family is found by the model_type of a config once; behind that,
// code holds the record.
#pragma once

#include <span>
#include <string>

#include "absl/strings/string_view.h"

#include "plan/model/model_spec.h"

namespace quantmoe {

class ConfigReader;

// A part of a module's name, and what stands in its place.
struct NamePart {
  absl::string_view published;
  absl::string_view loaded;
};

struct Family {
  absl::string_view model_type;
  absl::string_view architectures;  // that the type goes with; the first one when config.json has none
  double norm_eps;                  // when rms_norm_eps is absent
  double rope_theta;                // when there is none
  // Reads what is special, into a spec that has the common fields. A reference, so that a record without one
  // does not compile.
  void (&read)(ConfigReader& config, ModelSpec& spec);
  absl::string_view options = "";  // keys that would change the arithmetic of others, but are read here
  NameSpec names = {};             // of tensors
  double partial_rotary = 0;       // of a head, when there is none; 0: all of it, and no other is possible
  // Model types of the object `text_config` in which a multimodal config keeps its language model; empty: the
  // file is all about it.
  absl::string_view text_types = "";
  // Fused gate and up projections of the experts alternate row by row; false: one lies behind the other.
  bool interleaved_experts = false;
  // What GPTQModel (7.7) calls parts of the published names: it loads by the names of the modules in memory.
  std::span<const NamePart> gptqmodel_names = {};
};

// Sorted by model_type.
std::span<const Family> Families();
// Null when there is no family of that model_type.
const Family* FindFamily(absl::string_view model_type);
// The one that a spec was read by.
const Family& FamilyOf(const ModelSpec& spec);

// The published name of a module or tensor as GPTQModel looks for it.
std::string GptqModelName(const Family& family, absl::string_view name);

}  // namespace quantmoe
