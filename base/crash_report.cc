#include "base/crash_report.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>

#include "absl/debugging/failure_signal_handler.h"
#include "absl/debugging/symbolize.h"

#include "base/exception_text.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxActivity = 200;
constexpr int kSlots = 16;

// Written by the thread that works, read by a handler: bytes first, then their number.
struct Activity {
  std::atomic<bool> taken{false};
  std::atomic<size_t> bytes{0};
  char text[kMaxActivity];
};
Activity activities[kSlots];
thread_local int own_slot = -1;

// "SIGSEGV", from the first line of the report: "*** SIGSEGV received at time=...".
char signal_name[16] = "a signal";

// What the exception says that nobody caught; empty: the process dies of something else.
char exception_text[320] = "";

void NoteSignal(const char* text) {
  static constexpr char kBefore[] = "*** ";
  if (std::strncmp(text, kBefore, sizeof kBefore - 1) != 0) return;
  const char* name = text + sizeof kBefore - 1;
  const size_t length = std::strcspn(name, " ");
  if (length >= sizeof signal_name || std::strncmp(name, "SIG", 3) != 0) return;
  std::memcpy(signal_name, name, length);
  signal_name[length] = '\0';
}

void NoteException() {
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::exception& error) {
    std::strncpy(exception_text, ExceptionText(error).c_str(), sizeof exception_text - 1);
  } catch (...) {
    std::strncpy(exception_text, "of an unknown type", sizeof exception_text - 1);
  }
}

// The report of the abort tells the rest, and the stack is that of the place that threw.
[[noreturn]] void OnTerminate() {
  static std::atomic<bool> terminating{false};
  // ExceptionText may find no memory either: then this is its own exception.
  if (!terminating.exchange(true) && std::current_exception() != nullptr) NoteException();
  std::abort();
}

class SignalStack {
 public:
  SignalStack() : memory_(std::make_unique<char[]>(kBytes)) {
    stack_t stack{};
    stack.ss_sp = memory_.get();
    stack.ss_size = kBytes;
    sigaltstack(&stack, nullptr);
  }
  ~SignalStack() {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }

 private:
  static constexpr size_t kBytes = 64 << 10;
  const std::unique_ptr<char[]> memory_;
};

class Line {
 public:
  void Add(const char* text, size_t bytes) {
    const size_t taken = std::min(bytes, sizeof text_ - used_);
    std::memcpy(text_ + used_, text, taken);
    used_ += taken;
  }
  void Add(const char* text) { Add(text, std::strlen(text)); }
  void Write() const { (void)!write(STDERR_FILENO, text_, used_); }

 private:
  char text_[1024];
  size_t used_ = 0;
};

// abseil has written the report to standard error and gives it once more, piece by piece; null is its end.
void OnReport(const char* text) {
  if (text != nullptr) return NoteSignal(text);
  Line line;
  line.Add("error the process dies of ");
  if (exception_text[0] == '\0') {
    line.Add(signal_name);
  } else {
    line.Add("an exception (");
    line.Add(exception_text);
    line.Add(")");
  }
  const char* before = " while running ";
  for (int slot = 0; slot < kSlots; ++slot) {
    const size_t bytes = activities[slot].bytes.load(std::memory_order_acquire);
    if (bytes == 0 || (own_slot >= 0 && slot != own_slot)) continue;
    line.Add(before);
    line.Add(activities[slot].text, bytes);
    before = ", ";
  }
  line.Add("; its stack is above\n");
  line.Write();
}

}  // namespace

void InstallCrashReport(const char* program) {
  struct sigaction terminate {};
  sigaction(SIGTERM, nullptr, &terminate);
  absl::InitializeSymbolizer(program);
  absl::FailureSignalHandlerOptions options;
  options.writerfn = OnReport;
  absl::InstallFailureSignalHandler(options);
  sigaction(SIGTERM, &terminate, nullptr);
  std::set_terminate(OnTerminate);
  // No room under such a limit is a full disk (storage/durable_file.h), which every writer tells its caller.
  signal(SIGXFSZ, SIG_IGN);
}

void ReportStackOverflowOfThisThread() {
  stack_t current{};
  if (sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) return;
  thread_local const SignalStack stack;
}

CrashContext::CrashContext(absl::string_view text) : outer_(own_slot) {
  for (int slot = 0; slot < kSlots && slot_ < 0; ++slot) {
    if (!activities[slot].taken.exchange(true)) slot_ = slot;
  }
  if (slot_ < 0) return;
  const size_t bytes = std::min(text.size(), kMaxActivity);
  std::memcpy(activities[slot_].text, text.data(), bytes);
  activities[slot_].bytes.store(bytes, std::memory_order_release);
  own_slot = slot_;
}

CrashContext::~CrashContext() {
  own_slot = outer_;
  if (slot_ < 0) return;
  activities[slot_].bytes.store(0, std::memory_order_release);
  activities[slot_].taken = false;
}

}  // namespace quantmoe
