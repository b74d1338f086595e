#include "local/work_end.h"

#include <filesystem>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"

#include "base/text.h"

namespace quantmoe {

bool HoldsResults(const WorkDirectory& work) {
  std::error_code error;
  return !std::filesystem::is_empty(work.path() + "/results", error) && !error;
}

bool EndWork(WorkDirectory& work, bool own, const absl::Status& status) {
  if (!status.ok() && HoldsResults(work)) {
    std::cerr << absl::StrCat("what was computed is kept in ", OneLine(work.path()),
                              ": the same command goes on with it\n");
    return true;
  }
  const absl::Status removed = own ? work.Remove() : absl::OkStatus();
  if (!removed.ok()) std::cerr << absl::StrCat("warning: ", PlainLines(removed.message()), "\n");
  return false;
}

}  // namespace quantmoe
