#include "client/job_request.h"

#include <array>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/value_text.h"
#include "proto/job_spec_proto.h"

namespace quantmoe {
namespace {

using Violations = std::vector<FieldViolation>;

void AddLabels(const std::vector<std::string>& pairs, v1::Job& job, Violations& violations) {
  for (const std::string& text : pairs) {
    const auto pair = cli::SplitPair(text);
    if (!pair) {
      violations.push_back({"--label", cli::NoPair(text)});
    } else if (!job.mutable_labels()->insert({pair->first, pair->second}).second) {
      violations.push_back({"--label", absl::StrCat("'", pair->first, "' is given twice")});
    }
  }
}

}  // namespace

void AddJobFlags(cli::Command command, JobFlags& flags) {
  command.BeginGroup("Job");
  command.Add("--name", flags.name, "Id of the job; the server chooses one by default").Type("JOB_ID");
  command.Add("--display-name", flags.display_name, "Name for people");
  command.Add("--label", flags.labels, "Label of the job; repeatable").OneValueEach().Type("KEY=VALUE");
  command.Add("--request-id", flags.request_id, "Makes repeated submits one job; random by default");
  command.AddSwitch("--validate-only", flags.validate_only,
                    "Check only, and show every default filled in; create nothing");
}

cli::TakeFile TakeUploads(FileUploads& uploads) {
  return [&uploads](const std::string& file) -> absl::StatusOr<std::optional<Digest>> {
    if (absl::StartsWith(file, "hf://")) return std::nullopt;
    return uploads.Add(file);
  };
}

void TakeTitle(const cli::JobTitle& title, v1::Job& job) {
  job.set_display_name(title.display_name);
  job.mutable_labels()->insert(title.labels.begin(), title.labels.end());
}

absl::StatusOr<v1::JobSpec> MakeJobSpec(const cli::TypedFlags& flags, const cli::SpecNeeds& needs,
                                        FileUploads& uploads) {
  ASSIGN_OR_RETURN(const cli::SpecInput input, cli::ReadSpec(flags, needs, TakeUploads(uploads)));
  return JobSpecToProto(input.spec, input.given);
}

absl::StatusOr<v1::CreateJobRequest> MakeCreateJobRequest(const cli::TypedFlags& spec, const JobFlags& job,
                                                          FileUploads& uploads) {
  v1::CreateJobRequest request;
  const absl::StatusOr<cli::SpecInput> input = cli::ReadSpec(spec, {}, TakeUploads(uploads));
  Violations violations = GetErrorInfo(input.status()).violations;
  if (!input.ok() && violations.empty()) return input.status();
  AddLabels(job.labels, *request.mutable_job(), violations);
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  *request.mutable_job()->mutable_spec() = JobSpecToProto(input->spec, input->given);
  TakeTitle(input->title, *request.mutable_job());
  if (!job.display_name.empty()) request.mutable_job()->set_display_name(job.display_name);
  request.set_job_id(job.name);
  request.set_request_id(job.request_id.empty() ? RandomUuid() : job.request_id);
  request.set_validate_only(job.validate_only);
  return request;
}

std::string RandomUuid() {
  std::random_device device;
  std::array<uint32_t, 4> words;
  for (uint32_t& word : words) word = device();
  words[1] = (words[1] & 0xFFFF0FFF) | 0x4000;
  words[2] = (words[2] & 0x3FFFFFFF) | 0x80000000;
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16, words[1] & 0xFFFF,
                         words[2] >> 16, words[2] & 0xFFFF, words[3]);
}

}  // namespace quantmoe
