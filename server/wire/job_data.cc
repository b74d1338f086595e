#include "server/wire/job_data.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/job/shipped_prose.h"
#include "sources/data_file.h"

namespace quantmoe {
namespace {

struct NamedData {
  std::string field;  // of the URI
  std::string* uri;
  v1::Digest* digest;  // null: not set
  std::function<v1::Digest*()> set_digest;
};

std::vector<NamedData> ListData(v1::JobSpec& spec) {
  std::vector<NamedData> data;
  const auto add = [&data](std::string field, std::string* uri, bool has_digest, auto digest) {
    if (!uri->empty()) data.push_back({std::move(field), uri, has_digest ? digest() : nullptr, digest});
  };
  if (spec.has_calibration()) {
    v1::Calibration& calibration = *spec.mutable_calibration();
    add("spec.calibration.text_uri", calibration.mutable_text_uri(), calibration.has_text(),
        [&calibration] { return calibration.mutable_text(); });
  }
  if (!spec.has_evaluation() || spec.evaluation().skip()) return data;
  v1::Evaluation& evaluation = *spec.mutable_evaluation();
  add("spec.evaluation.perplexity_text_uri", evaluation.mutable_perplexity_text_uri(),
      evaluation.has_perplexity_text(), [&evaluation] { return evaluation.mutable_perplexity_text(); });
  for (int i = 0; i < evaluation.tasks_size(); ++i) {
    v1::BenchmarkTask& task = *evaluation.mutable_tasks(i);
    const std::string field = absl::StrCat("spec.evaluation.tasks[", i, "]");
    add(field + ".data_uri", task.mutable_data_uri(), task.has_data(),
        [&task] { return task.mutable_data(); });
    add(field + ".fewshot_data_uri", task.mutable_fewshot_data_uri(), task.has_fewshot_data(),
        [&task] { return task.mutable_fewshot_data(); });
  }
  return data;
}

absl::Status Fetch(ServiceContext& context, const NamedData& data) {
  if (data.digest != nullptr && IsSha256(data.digest->sha256())) {
    ASSIGN_OR_RETURN(const bool stored,
                     context.blobs().Contains({data.digest->sha256(), data.digest->size_bytes()}));
    if (stored) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const DataFile fetched, ReadDataFile(*data.uri, context.models));
  ASSIGN_OR_RETURN(const Digest digest, context.blobs().Put(fetched.file.bytes()));
  if (data.digest != nullptr && data.digest->sha256() != digest.sha256) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "DATA_CHANGED",
        absl::StrCat(*data.uri, " has SHA-256 ", digest.sha256, ", the spec says ", data.digest->sha256()));
  }
  *data.uri = fetched.uri.ToString();
  v1::Digest& filled = *data.set_digest();
  filled.set_sha256(digest.sha256);
  filled.set_size_bytes(digest.size_bytes);
  return absl::OkStatus();
}

}  // namespace

bool RestoreShippedText(ServiceContext& context, const Digest& digest) {
  if (digest == context.calibration_prose) return context.blobs().Ensure(ShippedCalibrationProse()).ok();
  return digest == context.heldout_prose && context.blobs().Ensure(ShippedHeldoutProse()).ok();
}

absl::Status FetchJobData(ServiceContext& context, v1::JobSpec& spec) {
  const std::vector<NamedData> all = ListData(spec);
  std::vector<FieldViolation> violations;
  for (const NamedData& data : all) {
    if (const auto uri = ParseDataUri(*data.uri); !uri.ok()) {
      violations.push_back({data.field, GetErrorInfo(uri.status()).violations.front().description});
    }
  }
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  for (const NamedData& data : all) {
    const absl::Status status = Fetch(context, data);
    if (!status.ok() && !GetErrorInfo(status).violations.empty()) {
      return InvalidFields({{data.field, GetErrorInfo(status).violations.front().description}});
    }
    if (!status.ok()) return Annotate(status, data.field);
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
