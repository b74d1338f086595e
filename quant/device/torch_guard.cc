#include "quant/device/torch_guard.h"

#include <new>

#include "absl/strings/str_cat.h"
#include <c10/util/Exception.h>

#include "base/error_info.h"
#include "base/exception_text.h"

namespace quantmoe {

absl::Status RunGuarded(absl::string_view what, const std::function<absl::Status()>& fn) {
  // What libtorch appends from the second line on is for those who debug it.
  const auto error = [&](absl::StatusCode code, absl::string_view reason, absl::string_view text) {
    return MakeError(code, reason, absl::StrCat(what, ": ", text.substr(0, text.find('\n'))));
  };
  try {
    return fn();
  } catch (const c10::OutOfMemoryError& e) {
    return error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY", e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY", "host memory exhausted");
  } catch (const c10::LinAlgError& e) {
    return error(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE", e.what_without_backtrace());
  } catch (const c10::IndexError& e) {
    return error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", e.what_without_backtrace());
  } catch (const c10::ValueError& e) {
    return error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", e.what_without_backtrace());
  } catch (const c10::TypeError& e) {
    return error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", e.what_without_backtrace());
  } catch (const c10::NotImplementedError& e) {
    return error(absl::StatusCode::kUnimplemented, "UNIMPLEMENTED", e.what_without_backtrace());
  } catch (const c10::AcceleratorError& e) {
    return error(absl::StatusCode::kAborted, "DEVICE_FAILURE", e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return error(absl::StatusCode::kInternal, "INTERNAL", e.what_without_backtrace());
  } catch (const std::exception& e) {
    return error(absl::StatusCode::kInternal, "INTERNAL", ExceptionText(e));
  }
}

}  // namespace quantmoe
