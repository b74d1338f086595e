#include "quant/artifact/export.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "plan/allocate/choice_groups.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/model/family.h"
#include "quant/artifact/gptq_config.h"
#include "quant/artifact/model_card.h"
#include "quant/artifact/writer.h"
#include "quant/gptq/packing.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<const RuntimeProfile*> ProfileOf(const std::string& name, int group_size) {
  const RuntimeProfile* profile = FindProfile(name);
  if (profile == nullptr) {
    return InvalidFields({{"--profile", UnknownProfile(name)}});
  }
  const auto& sizes = profile->group_sizes;
  if (std::find(sizes.begin(), sizes.end(), group_size) == sizes.end()) {
    return InvalidFields({{"--profile", absl::StrCat(name, " cannot load groups of ", group_size)}});
  }
  return profile;
}

// The smallest width of the profile that holds the codes of a linear; 0 when there is none. One bit more
// makes room for mirrored groups beside the others under one zero point.
int WidthFor(const RuntimeProfile& profile, const PlannedLinear& planned) {
  const int needed = planned.width + (profile.symmetric_only && !planned.symmetric ? 1 : 0);
  int best = 0;
  for (const int width : profile.widths) {
    if (width >= needed && (best == 0 || width < best)) best = width;
  }
  return best;
}

absl::StatusOr<size_t> Widen(const RuntimeProfile& profile, BitPlan& plan) {
  std::vector<Linear> linears;
  for (const PlannedLinear& planned : plan.linears) linears.push_back(planned.linear);
  size_t widened = 0;
  for (const std::vector<size_t>& group : GroupLinears(linears, profile, Grain::kLinear)) {
    int width = 0;
    for (const size_t i : group) {
      const PlannedLinear& planned = plan.linears[i];
      const int needed = WidthFor(profile, planned);
      if (needed == 0) {
        return InvalidFields({{"--profile", absl::StrCat(profile.name, " cannot load ", planned.width,
                                                         " bits, which ", planned.linear.name, " has")}});
      }
      width = std::max(width, needed);
    }
    for (const size_t i : group) {
      PlannedLinear& planned = plan.linears[i];
      if (planned.width == width) continue;
      planned.width = width;
      planned.symmetric = true;
      ++widened;
    }
  }
  return widened;
}

std::string NameIn(const PublishedArtifact& artifact, const RuntimeProfile& profile,
                   const ExportFormat& format, const std::string& name) {
  if (!format.loaders_names || !profile.own_names) return name;
  return GptqModelName(FamilyOf(artifact.spec()), name);
}

// Kept() of the artifact under the names of the export.
std::vector<TensorInfo> KeptIn(const PublishedArtifact& artifact, const RuntimeProfile& profile,
                               const ExportFormat& format) {
  std::vector<TensorInfo> kept = artifact.Kept();
  for (TensorInfo& tensor : kept) tensor.name = NameIn(artifact, profile, format, tensor.name);
  return kept;
}

std::vector<TensorInfo> StoredAs(const ExportFormat& format, const Linear& linear, int width,
                                 int group_size) {
  return TensorsOf(format.stored, {linear.name, linear.out, linear.in, width, group_size});
}

// A tensor that the artifact carries may have a name that the format needs for one of its own.
absl::Status CheckNames(const ExportFormat& format, const BitPlan& plan,
                        const std::vector<TensorInfo>& kept) {
  std::set<std::string> needed;
  for (const PlannedLinear& planned : plan.linears) {
    for (TensorInfo& tensor : StoredAs(format, planned.linear, planned.width, plan.group_size))
      needed.insert(std::move(tensor.name));
  }
  for (const TensorInfo& tensor : kept) {
    if (!needed.contains(tensor.name)) continue;
    return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
                     absl::StrCat("the artifact carries a tensor ", tensor.name,
                                  ", which is a name that the format ", format.stored.name, " needs"),
                     {{"tensor", tensor.name}});
  }
  return absl::OkStatus();
}

void AddFigures(ExportLayout& layout) {
  BitPlan& plan = layout.plan;
  double weights = 0, codes = 0, stored = 0;
  for (const PlannedLinear& planned : plan.linears) {
    weights += static_cast<double>(planned.linear.weights());
    codes += static_cast<double>(planned.width * planned.linear.weights());
    for (const TensorInfo& tensor : StoredAs(layout.format, planned.linear, planned.width, plan.group_size))
      stored += 8.0 * static_cast<double>(tensor.data_bytes());
  }
  plan.average_bits = codes / weights;
  plan.stored_bits = stored / weights;
  plan.weight_file_bytes = WeightFileBytes(layout.files);
  plan.rank_bytes = 0;  // was for the artifact's widths
}

// Gives the tensors of the export and reads them back.
class Exporter {
 public:
  Exporter(const PublishedArtifact& artifact, const ExportLayout& layout)
      : artifact_(artifact), format_(layout.format), group_size_(layout.plan.group_size) {
    for (size_t i = 0; i < layout.plan.linears.size(); ++i) {
      const PlannedLinear& stored = layout.plan.linears[i];
      for (const FormatTensor& tensor : format_.stored.tensors) {
        tensors_[absl::StrCat(stored.linear.name, tensor.suffix)] = {&artifact.plan().linears[i],
                                                                     stored.width, tensor.content};
      }
    }
    for (const TensorInfo& tensor : artifact.Kept())
      kept_[NameIn(artifact, layout.profile, format_, tensor.name)] = tensor.name;
  }

  absl::StatusOr<MappedFile> Get(const TensorInfo& info) const {
    if (const auto kept = kept_.find(info.name); kept != kept_.end())
      return artifact_.checkpoint().Read(kept->second);
    ASSIGN_OR_RETURN(const at::Tensor tensor, Packed(info.name));
    return BytesForLayout(tensor, info);
  }

  // Every dequantized weight of a written file equals the artifact's. A linear never straddles two files.
  absl::Status Compare(const WeightFile& file, const Digest& digest, BlobStore& blobs) const {
    ASSIGN_OR_RETURN(const NamedTensors written, GetTensors(blobs, digest));
    std::map<const PlannedLinear*, std::pair<int, StoredWeights>> stored;
    for (const auto& [name, tensor] : written) {
      const auto found = tensors_.find(name);
      if (found == tensors_.end()) continue;
      auto& [width, weights] = stored[found->second.linear];
      width = found->second.width;
      if (at::Tensor* const part = PartOf(weights, found->second.content)) *part = tensor;
    }
    for (const auto& [planned, one] : stored) {
      const auto& [width, weights] = one;
      ASSIGN_OR_RETURN(const SignedLinear solved, artifact_.Linear(*planned));
      const at::Tensor expected =
          Dequantize(UnpackRows(solved.qweight, planned->width), solved.scales, planned->width, group_size_);
      if (!format_.unpack(weights, width, group_size_).equal(expected)) {
        return absl::DataLossError(
            absl::StrCat(file.name, ": weight ", planned->linear.name, " is not the artifact's"));
      }
    }
    return absl::OkStatus();
  }

 private:
  // A tensor of the export.
  struct Part {
    const PlannedLinear* linear = nullptr;  // of the artifact
    int width = 0;                          // of the export
    TensorContent content = TensorContent::kCodes;
  };

  // Null for what is not computed from the weights.
  static at::Tensor* PartOf(StoredWeights& weights, TensorContent content) {
    switch (content) {
      case TensorContent::kCodes:
        return &weights.codes;
      case TensorContent::kZeroPoints:
        return &weights.zero_points;
      case TensorContent::kScales:
        return &weights.scales;
      case TensorContent::kGroupOfInput:
      case TensorContent::kShape:
        return nullptr;
    }
    return nullptr;
  }

  absl::StatusOr<at::Tensor> Packed(const std::string& name) const {
    const auto& [planned, width, content] = tensors_.at(name);
    const Linear& linear = planned->linear;
    if (content == TensorContent::kShape) return at::tensor({linear.out, linear.in}, at::kLong);
    if (content == TensorContent::kGroupOfInput)
      return at::div(at::arange(linear.in, at::kInt), group_size_, "floor").contiguous();
    ASSIGN_OR_RETURN(SignedLinear solved, artifact_.Linear(*planned));
    if (width != planned->width) solved = Widened(solved, planned->width, width);
    return format_.pack(solved, width, content);
  }

  // More bits hold the codes of both signs under one zero point, so no scale needs to be negative.
  static SignedLinear Widened(const SignedLinear& solved, int from, int to) {
    const int64_t groups = solved.scales.size(0), out = solved.scales.size(1);
    const at::Tensor signs = at::where(solved.scales < 0, -1, 1).to(at::kChar).unsqueeze(1);
    const at::Tensor centred = UnpackRows(solved.qweight, from).sub_(1 << (from - 1)).view(at::kChar);
    const at::Tensor codes = centred.view({groups, -1, out}).mul(signs).view(at::kByte).add_(1 << (to - 1));
    return {PackRows(codes.view({-1, out}), to), solved.scales.abs()};
  }

  const PublishedArtifact& artifact_;
  const ExportFormat& format_;
  const int64_t group_size_;
  std::map<std::string, Part> tensors_;
  std::map<std::string, std::string> kept_;  // names in the artifact
};

Json ExportNote(const PublishedArtifact& artifact, const ExportLayout& layout) {
  return {{"format", std::string(layout.format.stored.name)},
          {"profile", layout.plan.profile},
          {"artifact_sha256", artifact.manifest_sha256()}};
}

// The artifact's plan with the widths of the export; `native_bits` is what a linear was solved for.
Json PlanOf(const PublishedArtifact& artifact, const ExportLayout& layout) {
  Json json = artifact.plan_json();
  json["profile"] = layout.plan.profile;
  json["average_bits"] = layout.plan.average_bits;
  json["stored_bits"] = layout.plan.stored_bits;
  json["weight_file_bytes"] = layout.plan.weight_file_bytes;
  json["rank_bytes"] = layout.plan.rank_bytes;
  for (size_t i = 0; i < layout.plan.linears.size(); ++i) {
    Json& linear = json["linears"][i];
    if (!linear.contains("native_bits")) linear["native_bits"] = linear["bits"];
    linear["bits"] = layout.plan.linears[i].width;
    linear["symmetric"] = layout.plan.linears[i].symmetric;
    linear["linear"]["name"] = layout.plan.linears[i].linear.name;
  }
  return json;
}

class Publication {
 public:
  Publication(const PublishedArtifact& artifact, const ExportLayout& layout, const std::string& version,
              BlobStore& blobs)
      : artifact_(artifact), layout_(layout), version_(version), blobs_(blobs) {}

  absl::StatusOr<Digest> Run() {
    const Exporter exporter(artifact_, layout_);
    ASSIGN_OR_RETURN(files_,
                     WriteLaidOutFiles(
                         layout_.files, [&](const TensorInfo& info) { return exporter.Get(info); }, blobs_));
    for (size_t i = 0; i < layout_.files.size(); ++i)
      RETURN_IF_ERROR(exporter.Compare(layout_.files[i], files_[i].digest, blobs_));
    RETURN_IF_ERROR(CarryFiles());
    RETURN_IF_ERROR(WriteDocuments());
    return PutManifest();
  }

 private:
  // Whatever the artifact has beside weights and the documents that are written anew.
  absl::Status CarryFiles() {
    static const std::set<std::string> kRewritten = {"config.json", "quantize_config.json",
                                                     "quantmoe_plan.json", "README.md",
                                                     "model.safetensors.index.json"};
    ModelDirectory& directory = artifact_.checkpoint().directory();
    for (const Json& entry : artifact_.manifest()["files"]) {
      const std::string path = entry["path"];
      if (kRewritten.contains(path) || absl::EndsWith(path, ".safetensors")) continue;
      ASSIGN_OR_RETURN(const MappedFile bytes, directory.Read(path, 0, entry["size"].get<int64_t>()));
      RETURN_IF_ERROR(AddFile(path, bytes.bytes()));
      if (!absl::StartsWith(path, "quantmoe_")) carried_.push_back(path);
      if (path == "quantmoe_scores.json") {
        scores_ = ParseJson(bytes.bytes()).value_or(nullptr);
        if (!scores_.is_object()) return Damaged(path);
      }
    }
    return absl::OkStatus();
  }

  absl::Status WriteDocuments() {
    const ExportFormat& format = layout_.format;
    const Json config = format.config(artifact_, layout_.plan, layout_.profile,
                                      KeptIn(artifact_, layout_.profile, format), version_);
    const std::string copy(format.stored.config_copy);
    if (!copy.empty()) RETURN_IF_ERROR(AddFile(copy, config.dump(2) + "\n"));
    RETURN_IF_ERROR(AddFile("config.json", QuantizedModelConfig(artifact_.config_json(), config)));
    RETURN_IF_ERROR(AddFile("quantmoe_plan.json", PlanOf(artifact_, layout_).dump(1) + "\n"));
    return AddFile("README.md", ExportCard(layout_.plan, artifact_.spec(), scores_,
                                           std::string(layout_.format.stored.name), layout_.native_bits,
                                           layout_.source_bytes, version_) +
                                    CarriedFilesTable(carried_));
  }

  // Opening a blob checks its digest, so what is stored is what was put.
  absl::Status AddFile(const std::string& path, absl::string_view bytes) {
    ASSIGN_OR_RETURN(const Digest digest, blobs_.Put(bytes));
    ASSIGN_OR_RETURN(const MappedFile stored, blobs_.Open(digest));
    if (stored.bytes() != bytes) return Damaged(path);
    files_.push_back({path, digest});
    return absl::OkStatus();
  }

  static absl::Status Damaged(const std::string& path) {
    return absl::DataLossError(absl::StrCat(path, ": differs after writing"));
  }

  absl::StatusOr<Digest> PutManifest() {
    std::sort(files_.begin(), files_.end(),
              [](const ArtifactPart& a, const ArtifactPart& b) { return a.path < b.path; });
    Json manifest = artifact_.manifest();
    manifest.erase("files");
    manifest["quantmoe"] = version_;
    manifest["export"] = ExportNote(artifact_, layout_);
    manifest["files"] = Json::array();
    for (const ArtifactPart& file : files_) {
      manifest["files"].push_back(
          {{"path", file.path}, {"sha256", file.digest.sha256}, {"size", file.digest.size_bytes}});
    }
    return blobs_.Put(manifest.dump(2) + "\n");
  }

  const PublishedArtifact& artifact_;
  const ExportLayout& layout_;
  const std::string version_;
  BlobStore& blobs_;
  nlohmann::json scores_ = nlohmann::json::object();
  std::vector<ArtifactPart> files_;
  std::vector<std::string> carried_;  // paths of files of the original model
};

}  // namespace

absl::StatusOr<ExportLayout> LayOutExport(const PublishedArtifact& artifact, const ExportFormat& format,
                                          const std::string& profile_name) {
  const BitPlan& solved = artifact.plan();
  ASSIGN_OR_RETURN(const RuntimeProfile* profile, ProfileOf(profile_name, solved.group_size));
  ExportLayout layout{format, *profile, solved, {}, solved.weight_file_bytes, solved.average_bits, 0};
  layout.plan.profile = profile->name;
  ASSIGN_OR_RETURN(layout.widened, Widen(*profile, layout.plan));
  std::vector<Linear> linears;
  std::map<std::string, int> width_of;
  for (PlannedLinear& planned : layout.plan.linears) {
    planned.linear.name = NameIn(artifact, *profile, format, planned.linear.name);
    if (!format.stored.zero_points) planned.symmetric = true;  // scales keep their signs
    linears.push_back(planned.linear);
    width_of[planned.linear.name] = planned.width;
  }
  const std::vector<TensorInfo> kept = KeptIn(artifact, *profile, format);
  RETURN_IF_ERROR(CheckNames(format, layout.plan, kept));
  layout.files = LayOutWeightFiles(linears, kept, [&](const Linear& linear) {
    return StoredAs(format, linear, width_of.at(linear.name), layout.plan.group_size);
  });
  AddFigures(layout);
  return layout;
}

absl::StatusOr<Digest> WriteExport(const PublishedArtifact& artifact, const ExportLayout& layout,
                                   const std::string& version, BlobStore& blobs) {
  return Publication(artifact, layout, version, blobs).Run();
}

}  // namespace quantmoe
