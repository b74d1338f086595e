#include "client/compare/compare_cases.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/uniform_label.h"
#include "client/text/format.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

struct ComparedBudget {
  std::string title;
  std::string flag, text;
};

std::vector<ComparedBudget> BudgetsOf(const CompareFlags& flags) {
  std::vector<ComparedBudget> budgets;
  // With every bit of the number.
  const auto exact = [](double bits) { return absl::StrFormat("%.17g", bits); };
  for (const double bits : flags.bits)
    budgets.push_back({absl::StrCat(bits, " bits"), "--bits", exact(bits)});
  for (const double bits : flags.stored_bits)
    budgets.push_back({absl::StrCat(bits, " stored bits"), "--stored-bits", exact(bits)});
  for (const std::string& bytes : flags.bytes) budgets.push_back({bytes, "--bytes", bytes});
  for (const std::string& bytes : flags.rank_bytes)
    budgets.push_back({absl::StrCat(bytes, " a rank"), "--rank-bytes", bytes});
  return budgets;
}

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

// Gathers what is wrong, each thing once.
class Complaints {
 public:
  void Add(FieldViolation violation) {
    for (const FieldViolation& known : violations_) {
      if (known == violation) return;
    }
    violations_.push_back(std::move(violation));
  }
  void Add(const absl::Status& status) {
    for (FieldViolation& violation : GetErrorInfo(status).violations) Add(std::move(violation));
  }
  absl::Status Result() const { return InvalidFields(violations_); }

 private:
  std::vector<FieldViolation> violations_;
};

template <typename T>
void CheckDistinct(const std::vector<T>& values, const char* flag, Complaints& complaints) {
  std::set<T> seen;
  for (const T& value : values) {
    if (!seen.insert(value).second) complaints.Add({flag, absl::StrCat("'", value, "' is given twice")});
  }
}

void CheckFlags(const CompareFlags& flags, Complaints& complaints) {
  CheckDistinct(flags.heuristics, "--heuristics", complaints);
  CheckDistinct(flags.bits, "--bits", complaints);
  CheckDistinct(flags.stored_bits, "--stored-bits", complaints);
  CheckDistinct(flags.bytes, "--bytes", complaints);
  CheckDistinct(flags.rank_bytes, "--rank-bytes", complaints);
  if (BudgetsOf(flags).empty()) {
    complaints.Add({"--bits", "give budgets with --bits, --bytes, --stored-bits or --rank-bytes"});
  }
}

bool Names(const std::vector<std::string>& heuristics, const std::string& name) {
  return std::any_of(heuristics.begin(), heuristics.end(),
                     [&](const std::string& one) { return one.substr(0, one.find(':')) == name; });
}

// Whether a plan of one width spends all of it.
bool IsFilledByUniform(const ComparedBudget& budget, const std::vector<int>& asked_widths) {
  double bits = 0;
  if (budget.flag != "--bits" || !absl::SimpleAtod(budget.text, &bits)) return false;
  const std::vector<int> widths = asked_widths.empty() ? std::vector<int>{2, 3, 4, 8} : asked_widths;
  return std::find(widths.begin(), widths.end(), bits) != widths.end();
}

// With the control of equal bytes, where uniform plans are asked and none fills the budget.
std::vector<std::string> HeuristicsAt(const CompareFlags& flags, const ComparedBudget& budget,
                                      const std::vector<int>& widths) {
  std::vector<std::string> heuristics = flags.heuristics;
  if (!flags.no_control && Names(heuristics, "uniform") && !Names(heuristics, kEqualBytesControl) &&
      !IsFilledByUniform(budget, widths)) {
    heuristics.push_back(kEqualBytesControl);
  }
  return heuristics;
}

absl::StatusOr<CompareCase> MakeCase(const CompareFlags& flags, const ComparedBudget& budget,
                                     const std::string& heuristic, FileUploads& uploads) {
  const std::vector<std::string> parts = absl::StrSplit(heuristic, ':');
  cli::TypedFlags one = flags.spec;
  one.Set(budget.flag, budget.text);
  one.Set("--heuristic", parts.front());
  if (parts.size() > 1) {
    std::vector<std::string>& params = one.texts["--param"];
    params.insert(params.end(), parts.begin() + 1, parts.end());
  }
  CompareCase made;
  made.compared.heuristic = heuristic;
  made.compared.budget = budget.title;
  v1::Job& job = *made.request.mutable_job();
  ASSIGN_OR_RETURN(*job.mutable_spec(), MakeJobSpec(one, {}, uploads));
  // 50 characters are within the 200 bytes that a display name may have.
  job.set_display_name(Truncate(absl::StrCat("compare: ", heuristic, ", ", budget.title), 50));
  if (!flags.name.empty()) made.request.set_job_id(JobId(flags.name, heuristic, budget.title));
  made.request.set_request_id(CompareRequestId(CanonicalBytes(made.request)));
  return made;
}

}  // namespace

absl::StatusOr<std::vector<CompareCase>> MakeCompareCases(const CompareFlags& flags, FileUploads& uploads) {
  Complaints complaints;
  CheckFlags(flags, complaints);
  // What all jobs share, with any budget.
  const absl::StatusOr<v1::JobSpec> shared =
      MakeJobSpec(flags.spec, {.model = true, .budget = false}, uploads);
  complaints.Add(shared.status());
  std::vector<int> widths;
  if (shared.ok()) widths.assign(shared->gptq().widths().begin(), shared->gptq().widths().end());
  std::vector<CompareCase> cases;
  for (const ComparedBudget& budget : BudgetsOf(flags)) {
    for (const std::string& heuristic : HeuristicsAt(flags, budget, widths)) {
      absl::StatusOr<CompareCase> made = MakeCase(flags, budget, heuristic, uploads);
      complaints.Add(made.status());
      if (made.ok()) cases.push_back(*std::move(made));
    }
  }
  RETURN_IF_ERROR(complaints.Result());
  return cases;
}

std::string CompareRequestId(const std::string& text) {
  // Within the 64 characters that an id may have.
  return absl::StrCat("compare/", DigestOf(text).sha256.substr(0, 56));
}

}  // namespace quantmoe
