#include "client/compare/compare_cases.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/time_util.h>

#include "base/status_macros.h"
#include "client/job_request.h"
#include "client/text/format.h"
#include "proto/job_spec_proto.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

// Small letters, digits and single hyphens: what an id of a job may hold.
std::string JobId(const std::string& prefix, const std::string& heuristic, const std::string& budget) {
  std::string id = prefix;
  for (const char c : absl::StrCat("-", heuristic, "-", budget)) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      id += absl::ascii_tolower(static_cast<unsigned char>(c));
    } else if (id.back() != '-') {
      id += '-';
    }
  }
  return id;
}

// Maps in key order, so that equal requests have equal bytes.
std::string CanonicalBytes(const v1::CreateJobRequest& request) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  request.SerializeToCodedStream(&out);
  out.Trim();
  return bytes;
}

CompareCase MakeCase(const cli::ComparedSpec& spec, const std::string& name) {
  CompareCase made;
  made.compared.heuristic = spec.heuristic;
  made.compared.budget = spec.title;
  v1::Job& job = *made.request.mutable_job();
  *job.mutable_spec() = JobSpecToProto(spec.input.spec, spec.input.given);
  TakeTitle(spec.input.title, job);
  // 50 characters are within the 200 bytes that a display name may have.
  job.set_display_name(Truncate(absl::StrCat("compare: ", spec.heuristic, ", ", spec.title), 50));
  if (!name.empty()) made.request.set_job_id(JobId(name, spec.heuristic, spec.title));
  made.request.set_request_id(CompareRequestId(CanonicalBytes(made.request)));
  return made;
}

}  // namespace

absl::StatusOr<std::vector<CompareCase>> MakeCompareCases(const cli::CompareFlags& flags,
                                                          const std::string& name, FileUploads& uploads) {
  ASSIGN_OR_RETURN(const std::vector<cli::ComparedSpec> specs,
                   cli::ReadComparedSpecs(flags, TakeUploads(uploads)));
  std::vector<CompareCase> cases;
  for (const cli::ComparedSpec& spec : specs) cases.push_back(MakeCase(spec, name));
  return cases;
}

void ReadCost(const v1::Job& job, ComparedJob& compared) {
  using google::protobuf::util::TimeUtil;
  for (const v1::StageProgress& stage : job.progress().stages()) {
    compared.tasks += stage.tasks_total();
    compared.reused += stage.tasks_cached();
    compared.worker_seconds += stage.task_seconds();
  }
  if (job.has_start_time() && job.has_finish_time()) {
    compared.wall_seconds =
        static_cast<double>(TimeUtil::DurationToMilliseconds(job.finish_time() - job.start_time())) * 1e-3;
  }
}

std::string CompareRequestId(const std::string& text) {
  // Within the 64 characters that an id may have.
  return absl::StrCat("compare/", DigestOf(text).sha256.substr(0, 56));
}

}  // namespace quantmoe
