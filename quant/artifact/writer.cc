#include "quant/artifact/writer.h"

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/model/model_files.h"
#include "plan/model/tensor_views.h"
#include "quant/gptq/packing.h"
#include "quant/model/stored_tensor.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// Gives the bytes of any tensor of the artifact, by name.
class TensorSource {
 public:
  TensorSource(const BitPlan& plan, const ModelSpec& spec, const Checkpoint& checkpoint, BlobStore& blobs)
      : group_size_(plan.group_size), spec_(spec), checkpoint_(checkpoint), blobs_(blobs) {
    for (const PlannedLinear& planned : plan.linears) linears_[planned.linear.name] = &planned;
  }

  absl::StatusOr<MappedFile> Get(const TensorInfo& info) {
    const size_t dot = info.name.rfind('.');
    const auto planned = linears_.find(info.name.substr(0, dot));
    if (planned == linears_.end()) return Kept(OtherView(spec_, checkpoint_, info.name), info);
    const std::string suffix = info.name.substr(dot + 1);
    const Linear& linear = planned->second->linear;
    if (suffix == "bias" && linear.bias) return Kept(BiasView(spec_, checkpoint_, linear), info);
    if (!IsPacked(suffix)) return Kept(OtherView(spec_, checkpoint_, info.name), info);
    ASSIGN_OR_RETURN(const at::Tensor tensor, Packed(*planned->second, suffix));
    return BytesForLayout(tensor, info);
  }

 private:
  static bool IsPacked(const std::string& suffix) {
    return suffix == "qweight" || suffix == "qzeros" || suffix == "scales" || suffix == "g_idx";
  }

  absl::StatusOr<at::Tensor> Packed(const PlannedLinear& planned, const std::string& suffix) {
    if (suffix == "g_idx")
      return at::div(at::arange(planned.linear.in, at::kInt), group_size_, "floor").contiguous();
    ASSIGN_OR_RETURN(const GptqTensors stored, Stored(planned));
    if (suffix == "qzeros") return stored.qzeros;
    return suffix == "scales" ? stored.scales : stored.qweight;
  }

  // As it is stored, whatever its dtype; only what is encoded or a slice becomes a tensor.
  absl::StatusOr<MappedFile> Kept(const absl::StatusOr<TensorView>& view, const TensorInfo& info) {
    RETURN_IF_ERROR(view.status());
    if (view->encoding == Encoding::kPlain && view->expert < 0) return checkpoint_.Read(view->tensor);
    ASSIGN_OR_RETURN(const at::Tensor stored, ViewReader(checkpoint_).Read(*view));
    return BytesForLayout(stored.to(ScalarTypeOf(info.dtype)).contiguous(), info);
  }

  absl::StatusOr<GptqTensors> Stored(const PlannedLinear& planned) {
    ASSIGN_OR_RETURN(const at::Tensor qweight, Solved(planned, planned.linear.name + ".qweight"));
    ASSIGN_OR_RETURN(const at::Tensor scales, Solved(planned, planned.linear.name + ".scales"));
    return MirrorNegativeGroups(qweight, scales, planned.width);
  }

  absl::StatusOr<at::Tensor> Solved(const PlannedLinear& planned, const std::string& name) {
    if (open_digest_ != planned.blob) {
      ASSIGN_OR_RETURN(open_, GetTensors(blobs_, planned.blob));
      open_digest_ = planned.blob;
    }
    const auto found = open_.find(name);
    if (found == open_.end())
      return absl::DataLossError(absl::StrCat("blob ", planned.blob.sha256, " lacks ", name));
    return found->second;
  }

  const int group_size_;
  const ModelSpec& spec_;
  const Checkpoint& checkpoint_;
  BlobStore& blobs_;
  std::map<std::string, const PlannedLinear*> linears_;
  Digest open_digest_;
  NamedTensors open_;
};

// Whether a tensor has the scales of codes beside it; tensors that are carried may have any name and any
// content.
bool HoldsScales(const std::string& name, const std::map<std::string, std::string>& written) {
  for (const auto& [scales, codes] :
       {std::pair(".scales", ".qweight"), std::pair(".weight_scale", ".weight_packed")}) {
    if (!absl::EndsWith(name, scales)) continue;
    return written.contains(absl::StrCat(name.substr(0, name.rfind('.')), codes));
  }
  return false;
}

// Compares the stored file with the layout and with what was meant to be written.
absl::Status ReadBack(const WeightFile& file, const Digest& digest,
                      const std::map<std::string, std::string>& digests, BlobStore& blobs) {
  ASSIGN_OR_RETURN(const MappedFile map, blobs.Open(digest));
  ASSIGN_OR_RETURN(const SafetensorsFile read, SafetensorsFile::Parse(map, file.name));
  if (read.header().tensors.size() != file.layout.tensors.size())
    return absl::DataLossError("tensors are missing");
  for (const TensorInfo& expected : file.layout.tensors) {
    const TensorInfo* found = read.Find(expected.name);
    if (found == nullptr || found->shape != expected.shape || found->dtype_name() != expected.dtype_name() ||
        DigestOf(read.Bytes(*found)).sha256 != digests.at(expected.name)) {
      return absl::DataLossError(
          absl::StrCat(file.name, ": tensor ", expected.name, " differs after writing"));
    }
    if (!HoldsScales(expected.name, digests)) continue;
    ASSIGN_OR_RETURN(
        const at::Tensor scales,
        TensorFromBytes(*found, map.Slice(read.header().data_offset + found->begin, found->size_bytes())));
    if (!at::isfinite(scales).all().item<bool>()) {
      return absl::DataLossError(absl::StrCat(file.name, ": tensor ", expected.name, " is not finite"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ArtifactPart> WriteFile(const WeightFile& file, const TensorReader& read, BlobStore& blobs) {
  ASSIGN_OR_RETURN(std::unique_ptr<BlobWriter> writer, blobs.Create());
  RETURN_IF_ERROR(writer->Append(file.layout.header));
  std::map<std::string, std::string> digests;
  for (const TensorInfo& info : file.layout.tensors) {
    ASSIGN_OR_RETURN(const MappedFile data, read(info));
    if (static_cast<int64_t>(data.bytes().size()) != info.size_bytes())
      return absl::InternalError(
          absl::StrCat("tensor ", info.name, " has not the size that the layout says"));
    digests[info.name] = DigestOf(data.bytes()).sha256;
    RETURN_IF_ERROR(writer->Append(data.bytes()));
  }
  ASSIGN_OR_RETURN(const Digest digest, writer->Commit());
  RETURN_IF_ERROR(ReadBack(file, digest, digests, blobs));
  return ArtifactPart{file.name, digest};
}

}  // namespace

absl::StatusOr<MappedFile> BytesForLayout(const at::Tensor& tensor, const TensorInfo& info) {
  if (tensor.sizes() != at::IntArrayRef(info.shape) || DTypeOf(tensor) != info.dtype)
    return absl::InternalError(absl::StrCat("tensor ", info.name, " is not what the layout says"));
  auto owner = std::make_shared<const at::Tensor>(tensor);
  const absl::string_view bytes = BytesOf(*owner);
  return MappedFile(std::move(owner), bytes);
}

absl::StatusOr<std::vector<ArtifactPart>> WriteWeightFiles(const BitPlan& plan, const ModelSpec& spec,
                                                           const Checkpoint& source, BlobStore& blobs) {
  std::vector<Linear> linears;
  std::map<std::string, int> width_of;
  for (const PlannedLinear& planned : plan.linears) {
    linears.push_back(planned.linear);
    width_of[planned.linear.name] = planned.width;
  }
  const std::vector<WeightFile> files = LayOutWeightFiles(
      linears, KeptTensors(spec, source), [&](const Linear& l) { return width_of.at(l.name); },
      plan.group_size);
  TensorSource tensors(plan, spec, source, blobs);
  return WriteLaidOutFiles(
      files, [&](const TensorInfo& info) { return tensors.Get(info); }, blobs);
}

absl::StatusOr<std::vector<ArtifactPart>> WriteLaidOutFiles(const std::vector<WeightFile>& files,
                                                            const TensorReader& read, BlobStore& blobs) {
  std::vector<ArtifactPart> parts;
  for (const WeightFile& file : files) {
    ASSIGN_OR_RETURN(ArtifactPart part, WriteFile(file, read, blobs));
    parts.push_back(std::move(part));
  }
  if (files.size() > 1) {
    ASSIGN_OR_RETURN(const Digest digest, blobs.Put(WeightIndexJson(files)));
    parts.push_back({"model.safetensors.index.json", digest});
  }
  return parts;
}

absl::StatusOr<std::vector<ArtifactPart>> CopyModelFiles(const Checkpoint& source, BlobStore& blobs) {
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, ListCarriedFiles(source.directory()));
  std::vector<ArtifactPart> parts;
  for (const ModelFile& file : files) {
    ASSIGN_OR_RETURN(const MappedFile bytes, source.directory().Read(file.name, 0, file.size_bytes));
    ASSIGN_OR_RETURN(const Digest digest, blobs.Put(bytes.bytes()));
    parts.push_back({file.name, digest});
  }
  return parts;
}

}  // namespace quantmoe
