#include "plan/options/spec_files.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quantmoe {
namespace {

// The option `x_uri` stands for the digest `x` beside it.
template <HasOptions Spec>
void Collect(Spec& spec, const std::string& path, std::vector<SpecFile>& files) {
  std::map<std::string, Digest*> digests;
  auto visit = [&](const OptionInfo& option, auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const std::string below = absl::StrCat(path, ".", option.name);
    if constexpr (std::same_as<T, Digest>) {
      digests[below + "_uri"] = &value;
    } else if constexpr (HasOptions<T>) {
      Collect(value, below, files);
    } else if constexpr (std::same_as<T, std::vector<BenchmarkTaskSpec>>) {
      for (size_t i = 0; i < value.size(); ++i) Collect(value[i], absl::StrCat(below, "[", i, "]"), files);
    } else if constexpr (std::same_as<T, std::string>) {
      if (option.typed != Typed::kAsFile) return;
      files.push_back({below.substr(0, below.size() - 4), below, digests.at(below), &value});
    }
  };
  VisitOptions(spec, visit);
}

}  // namespace

std::vector<SpecFile> FilesOf(JobSpec& spec) {
  std::vector<SpecFile> files;
  Collect(spec, "spec", files);
  return files;
}

std::vector<NamedBlob> NamedBlobs(const JobSpec& spec) {
  JobSpec copy = spec;
  std::vector<NamedBlob> blobs;
  for (const SpecFile& file : FilesOf(copy)) {
    if (spec.evaluation.skip && absl::StartsWith(file.field, "spec.evaluation.")) continue;
    if (IsSha256(file.digest->sha256)) blobs.push_back({file.field, *file.digest});
  }
  return blobs;
}

}  // namespace quantmoe
