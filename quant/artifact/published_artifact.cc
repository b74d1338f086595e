#include "quant/artifact/published_artifact.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/json.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "plan/allocate/artifact_size.h"
#include "plan/model/model_config.h"
#include "quant/gptq/packing.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kManifest[] = "artifact.json", kPlan[] = "quantmoe_plan.json";

absl::Status Invalid(const std::string& message) {
  return MakeError(absl::StatusCode::kInvalidArgument, "ARTIFACT_INVALID", message);
}

// A JSON object in a file of the directory.
absl::StatusOr<Json> ReadObject(ModelDirectory& directory, const std::string& name, std::string& text) {
  absl::StatusOr<std::string> bytes = directory.ReadAll(name);
  if (!bytes.ok())
    return Annotate(Invalid(absl::StrCat(name, ": ", bytes.status().message())), "no artifact");
  text = *std::move(bytes);
  Json json = ParseOrderedJson(QuoteNonFinite(text)).value_or(nullptr);
  if (!json.is_object()) return Invalid(absl::StrCat(name, ": is no JSON object"));
  return json;
}

std::string TextAt(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

absl::Status CheckFile(ModelDirectory& directory, const Json& entry) {
  const std::string path = TextAt(entry, "path"), sha256 = TextAt(entry, "sha256");
  if (path.empty() || !IsSha256(sha256) || !entry.contains("size") || !entry["size"].is_number_unsigned()) {
    return Invalid(absl::StrCat(kManifest, ": an entry of `files` without path, sha256 and size"));
  }
  const absl::StatusOr<MappedFile> file = directory.Read(path, 0, entry["size"].get<int64_t>());
  if (!file.ok()) return Invalid(absl::StrCat(path, ": ", file.status().message()));
  if (DigestOf(file->bytes()).sha256 != sha256) {
    return Invalid(absl::StrCat(path, ": is damaged, its SHA-256 is not the one in ", kManifest));
  }
  return absl::OkStatus();
}

absl::Status CheckStored(const Checkpoint& checkpoint, const TensorInfo& expected) {
  const Checkpoint::Location* found = checkpoint.Find(expected.name);
  if (found == nullptr) return Invalid(absl::StrCat("tensor ", expected.name, " is missing"));
  if (found->info.dtype == expected.dtype && found->info.shape == expected.shape) return absl::OkStatus();
  return Invalid(absl::StrCat(found->file, ": tensor ", expected.name, " is ", DTypeName(found->info.dtype),
                              " [", absl::StrJoin(found->info.shape, ", "), "], the plan needs ",
                              DTypeName(expected.dtype), " [", absl::StrJoin(expected.shape, ", "), "]"));
}

absl::StatusOr<at::Tensor> Stored(const Checkpoint& checkpoint, const std::string& name) {
  ASSIGN_OR_RETURN(const MappedFile bytes, checkpoint.Read(name));
  return TensorFromBytes(checkpoint.Find(name)->info, bytes);
}

}  // namespace

absl::StatusOr<PublishedArtifact> PublishedArtifact::Open(std::shared_ptr<ModelDirectory> directory) {
  PublishedArtifact artifact;
  artifact.directory_ = std::move(directory);
  RETURN_IF_ERROR(artifact.ReadManifest());
  RETURN_IF_ERROR(artifact.ReadConfig());
  ASSIGN_OR_RETURN(artifact.checkpoint_, Checkpoint::Open(artifact.directory_));
  RETURN_IF_ERROR(artifact.ReadPlan());
  return artifact;
}

absl::Status PublishedArtifact::ReadManifest() {
  std::string text;
  ASSIGN_OR_RETURN(manifest_, ReadObject(*directory_, kManifest, text));
  manifest_sha256_ = DigestOf(text).sha256;
  if (TextAt(manifest_, "format") != "quantmoe.artifact" || manifest_.value("version", Json()) != 1) {
    return Invalid(absl::StrCat(kManifest, ": is no quantmoe.artifact of version 1"));
  }
  const Json spec = manifest_.value("spec", Json::object());
  if (!spec.is_object() || !spec.value("gptq", Json::object()).is_object())
    return Invalid(absl::StrCat(kManifest, ": `spec` is not that of a job"));
  if (!manifest_.contains("files") || !manifest_["files"].is_array())
    return Invalid(absl::StrCat(kManifest, ": has no list of files"));
  for (const Json& entry : manifest_["files"]) RETURN_IF_ERROR(CheckFile(*directory_, entry));
  return absl::OkStatus();
}

absl::Status PublishedArtifact::ReadConfig() {
  std::string text;
  ASSIGN_OR_RETURN(Json config, ReadObject(*directory_, "config.json", text));
  const Json quantization = config.value("quantization_config", Json::object());
  const std::string method = TextAt(quantization, "quant_method");
  if (method != "gptq" || TextAt(quantization, "checkpoint_format") != "gptq") {
    return Invalid(absl::StrCat("config.json: quantization_config has the quant_method \"", method,
                                "\"; an export starts from a gptq artifact of format \"gptq\""));
  }
  config.erase("quantization_config");
  config_json_ = config.dump();
  ASSIGN_OR_RETURN(spec_, ParseModelConfig(config_json_));
  return absl::OkStatus();
}

absl::Status PublishedArtifact::ReadPlan() {
  std::string text;
  ASSIGN_OR_RETURN(plan_json_, ReadObject(*directory_, kPlan, text));
  absl::StatusOr<BitPlan> plan = BitPlanFromJson(text);
  if (!plan.ok()) return Invalid(absl::StrCat(kPlan, ": ", plan.status().message()));
  plan_ = *std::move(plan);
  const std::set<int> widths = {2, 3, 4, 8}, groups = {32, 64, 128};
  if (!groups.contains(plan_.group_size)) return Invalid(absl::StrCat(kPlan, ": bad group_size"));
  std::map<std::string, quantmoe::Linear> known;
  for (const quantmoe::Linear& linear : ListLinears(spec_)) known[linear.name] = linear;
  if (plan_.linears.size() != known.size()) {
    return Invalid(absl::StrCat(kPlan, ": has ", plan_.linears.size(),
                                " linears, the model of config.json has ", known.size()));
  }
  for (const PlannedLinear& planned : plan_.linears) {
    const quantmoe::Linear& linear = planned.linear;
    const auto found = known.find(linear.name);
    if (found == known.end() || found->second.out != linear.out || found->second.in != linear.in ||
        found->second.kind != linear.kind || !widths.contains(planned.width)) {
      return Invalid(
          absl::StrCat(kPlan, ": ", linear.name, " is not a linear of this model, or has a bad width"));
    }
    for (const TensorInfo& tensor : PackedTensors(linear, planned.width, plan_.group_size))
      RETURN_IF_ERROR(CheckStored(*checkpoint_, tensor));
  }
  return absl::OkStatus();
}

absl::StatusOr<SignedLinear> PublishedArtifact::Linear(const PlannedLinear& planned) const {
  const quantmoe::Linear& linear = planned.linear;
  GptqTensors stored;
  ASSIGN_OR_RETURN(stored.qweight, Stored(*checkpoint_, linear.name + ".qweight"));
  ASSIGN_OR_RETURN(stored.qzeros, Stored(*checkpoint_, linear.name + ".qzeros"));
  ASSIGN_OR_RETURN(stored.scales, Stored(*checkpoint_, linear.name + ".scales"));
  ASSIGN_OR_RETURN(const at::Tensor index, Stored(*checkpoint_, linear.name + ".g_idx"));
  const auto refuse = [&](const char* tensor, const char* what) {
    const std::string name = absl::StrCat(linear.name, ".", tensor);
    return Invalid(absl::StrCat(checkpoint_->Find(name)->file, ": tensor ", name, " ", what));
  };
  if (!at::isfinite(stored.scales).all().item<bool>()) return refuse("scales", "is not finite");
  if (!stored.scales.all().item<bool>()) return refuse("scales", "holds a zero");
  const std::optional<SignedLinear> solved = UnmirrorGroups(stored, planned.width);
  const bool mirrored = solved && !solved->scales.equal(stored.scales);
  if (!solved || (planned.symmetric && mirrored))
    return refuse("qzeros", "has other zero points than the plan says");
  if (!at::equal(index, at::div(at::arange(linear.in, at::kInt), plan_.group_size, "floor")))
    return refuse("g_idx", "is not i / group_size");
  return *solved;
}

std::vector<TensorInfo> PublishedArtifact::Kept() const {
  std::set<std::string, std::less<>> packed;
  for (const PlannedLinear& planned : plan_.linears) {
    for (const TensorInfo& tensor : PackedTensors(planned.linear, planned.width, plan_.group_size))
      packed.insert(tensor.name);
  }
  std::vector<TensorInfo> kept;
  for (const auto& [name, location] : checkpoint_->tensors()) {
    if (!packed.contains(name)) kept.push_back(location.info);
  }
  return kept;
}

}  // namespace quantmoe
