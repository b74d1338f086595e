#include <cuda_runtime.h>

#include "quant/gptq/cuda/column_block.h"
#include "quant/gptq/cuda/group_fit.h"
#include "quant/gptq/cuda/kernels.h"

namespace quantmoe::kernel {
namespace {

constexpr int kSolveThreads = 128;
constexpr int kMaxFitThreads = 128;
// Shared memory of the scale search: a tile that fits several times into a multiprocessor.
constexpr int kTileBytes = 36 * 1024;
// The most blocks in the second and third dimension of a launch.
constexpr int64_t kMaxGrid = 65535;

// x: columns, y: matrices.
__global__ void __launch_bounds__(kSolveThreads)
    SolveBlockKernel(const __grid_constant__ QuantmoeSolveBlock block) {
  __shared__ BlockTriangle triangle;
  LoadTriangle(block, blockIdx.y, static_cast<int>(threadIdx.x), kSolveThreads, triangle);
  __syncthreads();
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kSolveThreads + threadIdx.x;
  if (n < block.widths * block.out) SolveColumns(block, blockIdx.y, n, triangle);
}

__device__ __forceinline__ void StoreScales(const QuantmoeFitGrid& grid, const GroupFit& fit, int64_t matrix,
                                            int64_t group, int64_t output) {
  const int64_t groups = grid.in / grid.group_size;
  for (int64_t width = 0; width < grid.widths; ++width) {
    grid.scales[((matrix * grid.widths + width) * groups + group) * grid.out + output] =
        fit.Scale(grid.bits[width], grid.rules[width]);
  }
}

// x: outputs, y: groups, z: matrices. A thread reads its own column of the tile only.
__global__ void __launch_bounds__(kMaxFitThreads)
    FitTileKernel(const __grid_constant__ QuantmoeFitGrid grid) {
  extern __shared__ float tile[];  // [group_size, threads], then the importance [group_size]
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int64_t matrix = blockIdx.z, group = blockIdx.y;
  const int64_t output = static_cast<int64_t>(blockIdx.x) * threads + thread;
  float* importance = tile + grid.group_size * threads;
  const int64_t first = matrix * grid.in + group * grid.group_size;
  for (int i = thread; i < grid.group_size; i += threads) importance[i] = grid.importance[first + i];
  __syncthreads();
  if (output >= grid.out) return;
  for (int i = 0; i < grid.group_size; ++i) {
    tile[i * threads + thread] = grid.weights[(first + i) * grid.out + output];
  }
  StoreScales(grid, GroupFit(tile + thread, threads, importance, grid.group_size), matrix, group, output);
}

// The same for groups that are too long for a tile.
__global__ void __launch_bounds__(kMaxFitThreads)
    FitLongKernel(const __grid_constant__ QuantmoeFitGrid grid) {
  const int64_t matrix = blockIdx.z, group = blockIdx.y;
  const int64_t output = static_cast<int64_t>(blockIdx.x) * kMaxFitThreads + threadIdx.x;
  if (output >= grid.out) return;
  const int64_t first = matrix * grid.in + group * grid.group_size;
  StoreScales(
      grid,
      GroupFit(grid.weights + first * grid.out + output, grid.out, grid.importance + first, grid.group_size),
      matrix, group, output);
}

unsigned int Blocks(int64_t count, int64_t threads) {
  return static_cast<unsigned int>((count + threads - 1) / threads);
}

int TileBytes(int group_size, int threads) {
  return group_size * (threads + 1) * static_cast<int>(sizeof(float));
}

}  // namespace
}  // namespace quantmoe::kernel

using quantmoe::kernel::Blocks;
using quantmoe::kernel::kMaxGrid;

int quantmoe_cuda_abi(void) { return QUANTMOE_CUDA_ABI; }

int quantmoe_cuda_fit_grid(const struct QuantmoeFitGrid* grid, int gpu, void* stream) {
  const int64_t groups = grid->in / grid->group_size;
  if (groups > kMaxGrid || grid->matrices > kMaxGrid) return cudaErrorInvalidConfiguration;
  if (const cudaError_t error = cudaSetDevice(gpu); error != cudaSuccess) return error;
  const auto on = static_cast<cudaStream_t>(stream);
  int threads = quantmoe::kernel::kMaxFitThreads;
  while (threads >= 32 &&
         quantmoe::kernel::TileBytes(grid->group_size, threads) > quantmoe::kernel::kTileBytes) {
    threads /= 2;
  }
  const bool tiled = threads >= 32;
  if (!tiled) threads = quantmoe::kernel::kMaxFitThreads;
  const dim3 blocks(Blocks(grid->out, threads), static_cast<unsigned int>(groups),
                    static_cast<unsigned int>(grid->matrices));
  if (tiled) {
    quantmoe::kernel::
        FitTileKernel<<<blocks, threads, quantmoe::kernel::TileBytes(grid->group_size, threads), on>>>(*grid);
  } else {
    quantmoe::kernel::FitLongKernel<<<blocks, threads, 0, on>>>(*grid);
  }
  return cudaGetLastError();
}

int quantmoe_cuda_solve_block(const struct QuantmoeSolveBlock* block, int gpu, void* stream) {
  if (block->matrices > kMaxGrid) return cudaErrorInvalidConfiguration;
  if (const cudaError_t error = cudaSetDevice(gpu); error != cudaSuccess) return error;
  const dim3 blocks(Blocks(block->widths * block->out, quantmoe::kernel::kSolveThreads),
                    static_cast<unsigned int>(block->matrices));
  quantmoe::kernel::
      SolveBlockKernel<<<blocks, quantmoe::kernel::kSolveThreads, 0, static_cast<cudaStream_t>(stream)>>>(
          *block);
  return cudaGetLastError();
}

int quantmoe_cuda_describe(int gpu, struct QuantmoeGpu* result) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, gpu); error != cudaSuccess) return error;
  static_assert(sizeof properties.name <= sizeof result->name);
  memcpy(result->name, properties.name, sizeof properties.name);
  result->major = properties.major;
  result->minor = properties.minor;
  result->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  return cudaDriverGetVersion(&result->driver);
}

int quantmoe_cuda_health(int gpu) {
  if (const cudaError_t error = cudaSetDevice(gpu); error != cudaSuccess) return error;
  // Clears an error of one call alone; a sticky one is there again after the wait.
  cudaGetLastError();
  return cudaDeviceSynchronize();
}

const char* quantmoe_cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}
