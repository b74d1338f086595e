#include "storage/mapped_reads.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/call_once.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include <sys/mman.h>

#include "base/error_info.h"
#include "base/log.h"
#include "storage/digest.h"

namespace quantmoe {

// The handler reads the atomic fields at any moment; `path` is for everybody else.
struct MappingGuard {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<int64_t> failure{0};  // number of the failure that hit it, 0: none
  std::string path;
};

namespace {

// The handler cannot take a lock, so that guards stay where they are for ever.
struct Block {
  static constexpr size_t kGuards = 256;
  MappingGuard guards[kGuards];
  std::atomic<Block*> next{nullptr};
};

std::atomic<int64_t> failures{0};
std::atomic<Block*> blocks{nullptr};
struct sigaction earlier_handler {};

MappingGuard* FindGuard(uintptr_t address) {
  for (Block* block = blocks.load(std::memory_order_acquire); block != nullptr;
       block = block->next.load(std::memory_order_acquire)) {
    for (MappingGuard& guard : block->guards) {
      const uintptr_t begin = guard.begin.load(std::memory_order_acquire);
      if (begin != 0 && begin <= address && address < guard.end.load(std::memory_order_relaxed))
        return &guard;
    }
  }
  return nullptr;
}

// Puts zeros in the place of the page and of all that follow it. The failure is noted first: who sees a
// zero of these finds it.
bool ReplacePages(uintptr_t address) {
  MappingGuard* const guard = FindGuard(address);
  if (guard == nullptr) return false;
  guard->failure = ++failures;
  const uintptr_t page = address - address % static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  void* const start = reinterpret_cast<void*>(page);
  return ::mmap(start, guard->end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                -1, 0) == start;
}

// Async-signal-safe: atomics and system calls only.
void OnBusError(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (ReplacePages(reinterpret_cast<uintptr_t>(info->si_addr))) {
    errno = error;
    return;
  }
  if ((earlier_handler.sa_flags & SA_SIGINFO) != 0) {
    earlier_handler.sa_sigaction(signal, info, context);
  } else if (earlier_handler.sa_handler != SIG_DFL && earlier_handler.sa_handler != SIG_IGN) {
    earlier_handler.sa_handler(signal);
  } else {
    ::signal(signal, SIG_DFL);  // the access is tried again, and ends the process
  }
}

void InstallHandler() {
  struct sigaction action {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGBUS, &action, &earlier_handler);
}

absl::Status Failed(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename();
  if (IsSha256(name)) {
    return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                     absl::StrCat("blob ", name, " was cut, or its disk failed, while it was read"),
                     {{"sha256", name}});
  }
  return MakeError(absl::StatusCode::kDataLoss, "FILE_CUT",
                   absl::StrCat(path, " was cut, or its disk failed, while it was read"), {{"file", path}});
}

class Guards {
 public:
  MappingGuard* Add(uintptr_t begin, size_t bytes, const std::string& path) {
    absl::MutexLock lock(&mutex_);
    if (free_.empty()) AddBlock();
    MappingGuard* const guard = free_.back();
    free_.pop_back();
    guard->path = path;
    guard->failure = 0;
    guard->end = begin + bytes;
    guard->begin.store(begin, std::memory_order_release);
    return guard;
  }

  void Remove(MappingGuard* guard) {
    absl::MutexLock lock(&mutex_);
    guard->begin = 0;
    if (guard->failure != 0) {
      Log(LogLevel::kError, "a file was cut, or its disk failed, while it was read", {{"file", guard->path}});
      last_failed_ = guard->path;
      last_failure_ = guard->failure;
    }
    free_.push_back(guard);
  }

  absl::Status Check(uintptr_t address) {
    absl::MutexLock lock(&mutex_);
    const MappingGuard* const guard = FindGuard(address);
    return guard == nullptr || guard->failure == 0 ? absl::OkStatus() : Failed(guard->path);
  }

  absl::Status CheckAll(int64_t failures_before) {
    if (failures == 0) return absl::OkStatus();
    absl::MutexLock lock(&mutex_);
    for (const Block* block = blocks; block != nullptr; block = block->next) {
      for (const MappingGuard& guard : block->guards) {
        if (guard.begin != 0 && guard.failure != 0) return Failed(guard.path);
      }
    }
    return last_failure_ > failures_before ? Failed(last_failed_) : absl::OkStatus();
  }

 private:
  void AddBlock() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto* const block = new Block;
    for (MappingGuard& guard : block->guards) free_.push_back(&guard);
    block->next.store(blocks, std::memory_order_relaxed);
    blocks.store(block, std::memory_order_release);
  }

  absl::Mutex mutex_;
  std::vector<MappingGuard*> free_ ABSL_GUARDED_BY(mutex_);
  // The last mapping that had failed when it was forgotten.
  std::string last_failed_ ABSL_GUARDED_BY(mutex_);
  int64_t last_failure_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Never destroyed: mappings may outlive every static object.
Guards& AllGuards() {
  static Guards& guards = *new Guards;
  return guards;
}

uintptr_t AddressOf(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

MappingGuard* GuardMapping(const void* start, size_t bytes, const std::string& path) {
  ABSL_CONST_INIT static absl::once_flag installed;
  absl::call_once(installed, InstallHandler);
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return AllGuards().Add(AddressOf(start), (bytes + page - 1) / page * page, path);
}

void ForgetMapping(MappingGuard* guard) { AllGuards().Remove(guard); }

absl::Status CheckMappedRead(absl::string_view bytes) { return AllGuards().Check(AddressOf(bytes.data())); }

MappedReads::MappedReads() : failures_before_(failures) {}

absl::Status MappedReads::Check() const { return AllGuards().CheckAll(failures_before_); }

}  // namespace quantmoe
