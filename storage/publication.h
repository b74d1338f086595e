// How a folder of results appears: prepared in a working folder, then put in place in one step, so that it is
// whole or absent. An earlier artifact stays until the new one is complete; a process may die anywhere.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/output_directory.h"
#include "storage/work_directory.h"

namespace quantmoe {

class Publication {
 public:
  // `target` is normal (NormalPath). Takes up what an interrupted one has staged. FAILED_PRECONDITION
  // OUTPUT_EXISTS (JudgeOutput); ABORTED when another process publishes there.
  static absl::StatusOr<Publication> Begin(const std::string& target, bool overwrite);

  // Where the files go; exists.
  std::string staging() const { return work_.path() + "/new"; }
  // Where the earlier artifact is that will be replaced; else empty.
  const std::string& replaced() const { return replaced_; }

  // Drops what is staged. A Publication that goes away without Finish or Discard leaves it for the next one.
  absl::Status Discard();
  // Forgets files that an earlier try has staged.
  absl::Status StartAgain();
  // Puts the staged folder, which must hold the manifest, in place. On an error it stays staged, and whatever
  // was in place stays there; unless the message says that only tidying failed.
  absl::Status Finish();

 private:
  Publication(std::string target, OutputState state, WorkDirectory work)
      : target_(std::move(target)),
        state_(state),
        replaced_(state == OutputState::kArtifact ? target_ : ""),
        work_(std::move(work)) {}

  absl::Status PutInPlace();
  absl::Status FillTarget();
  absl::Status TakeBack();
  absl::Status SwapWithTarget();

  std::string target_;
  OutputState state_;
  std::string replaced_;
  std::string old_;  // where the replaced artifact is once the new one is in place
  WorkDirectory work_;
};

}  // namespace quantmoe
