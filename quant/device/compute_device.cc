#include "quant/device/compute_device.h"

#include <dlfcn.h>

#include <cctype>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

// What a GPU does and in which batches; another text keeps results that were computed otherwise apart.
constexpr char kGpuSteps[] = "steps2";

absl::Status Unavailable(absl::string_view text) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE", text);
}

absl::StatusOr<void*> OpenLibrary(const char* name) {
  void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (library != nullptr) return library;
  return Unavailable(absl::StrCat("no GPU can be used: ", dlerror()));
}

template <typename Function>
absl::Status Bind(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function != nullptr) return absl::OkStatus();
  return Unavailable(absl::StrCat("no GPU can be used: libquantmoe_cuda.so has no ", name));
}

struct KernelLibrary {
  decltype(quantmoe_cuda_abi)* abi = nullptr;
  decltype(quantmoe_cuda_fit_grid)* fit_grid = nullptr;
  decltype(quantmoe_cuda_solve_block)* solve_block = nullptr;
  decltype(quantmoe_cuda_describe)* describe = nullptr;
  decltype(quantmoe_cuda_health)* health = nullptr;
  decltype(quantmoe_cuda_error_text)* error_text = nullptr;
};

absl::StatusOr<KernelLibrary> OpenKernels() {
  ASSIGN_OR_RETURN(void* const library, OpenLibrary("libquantmoe_cuda.so"));
  KernelLibrary kernels;
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_abi", kernels.abi));
  if (kernels.abi() != QUANTMOE_CUDA_ABI) {
    return Unavailable("no GPU can be used: libquantmoe_cuda.so belongs to another version of this program");
  }
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_fit_grid", kernels.fit_grid));
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_solve_block", kernels.solve_block));
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_describe", kernels.describe));
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_health", kernels.health));
  RETURN_IF_ERROR(Bind(library, "quantmoe_cuda_error_text", kernels.error_text));
  return kernels;
}

// Of a library that libtorch_cuda.so has brought along.
int64_t CublasVersion() {
  const auto version = reinterpret_cast<size_t (*)()>(dlsym(RTLD_DEFAULT, "cublasLtGetVersion"));
  return version == nullptr ? 0 : static_cast<int64_t>(version());
}

int64_t CusolverVersion() {
  const auto version = reinterpret_cast<int (*)(int*)>(dlsym(RTLD_DEFAULT, "cusolverGetVersion"));
  int result = 0;
  return version == nullptr || version(&result) != 0 ? 0 : result;
}

// No product in TF32, and the same algorithm for the same shapes. cuBLAS reads its variable when it starts.
void MakeDeterministic() {
  at::Context& context = at::globalContext();
  context.setFloat32MatmulPrecision("highest");
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);
}

absl::StatusOr<ComputeDevice> OpenGpu(int index) {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
  // ATen remembers at the first question that there is no GPU, so nobody may ask before.
  RETURN_IF_ERROR(OpenLibrary("libtorch_cuda.so").status());
  ASSIGN_OR_RETURN(const KernelLibrary kernels, OpenKernels());
  const int count = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0;
  if (index >= count) {
    return Unavailable(count == 0
                           ? "no GPU can be used: the CUDA driver reports none"
                           : absl::StrCat("there is no GPU ", index, ": the CUDA driver reports ", count));
  }
  QuantmoeGpu gpu;
  if (const int error = kernels.describe(index, &gpu); error != 0) {
    return Unavailable(absl::StrCat("GPU ", index, " cannot be used: ", kernels.error_text(error)));
  }
  if (gpu.major < 8) {
    return Unavailable(absl::StrCat("GPU ", index, " (", gpu.name, ") has compute capability ", gpu.major,
                                    ".", gpu.minor, "; the kernels need 8.0"));
  }
  MakeDeterministic();
  at::globalContext().lazyInitDevice(c10::kCUDA);
  return ComputeDevice{.device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)),
                       .name = gpu.name,
                       .determinism = absl::StrCat(
                           "cuda-sm", gpu.major, gpu.minor, "-", absl::StrReplaceAll(gpu.name, {{" ", "_"}}),
                           "-driver", gpu.driver, "-cudart", at::detail::getCUDAHooks().versionCUDART(),
                           "-cublas", CublasVersion(), "-cusolver", CusolverVersion(), "-", kGpuSteps),
                       .memory_bytes = gpu.memory_bytes,
                       .kernels = {kernels.fit_grid, kernels.solve_block, kernels.error_text},
                       .health = kernels.health};
}

}  // namespace

absl::StatusOr<ComputeDevice> OpenComputeDevice(const std::string& choice) {
  if (choice == "cpu") return ComputeDevice{};
  int index = 0;
  const bool indexed = absl::StartsWith(choice, "cuda:");
  if (choice != "auto" && choice != "cuda" &&
      (!indexed || !absl::SimpleAtoi(choice.substr(5), &index) || index < 0 || index > 127)) {
    return InvalidFields({{"--device", absl::StrCat("\"", choice, "\" is not auto, cpu, cuda or cuda:N")}});
  }
  absl::StatusOr<ComputeDevice> gpu = OpenGpu(index);
  if (!gpu.ok() && choice == "auto") return ComputeDevice{};
  return gpu;
}

absl::Status ComputeDevice::Check() const {
  if (!is_gpu()) return absl::OkStatus();
  const int error = health(device.index());
  if (error == 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "DEVICE_FAILURE",
                   absl::StrCat(name, ": ", kernels.error_text(error)));
}

}  // namespace quantmoe
