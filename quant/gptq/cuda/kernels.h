// The C interface of libquantmoe_cuda.so: raw device pointers, row-major and contiguous, and a stream. The
// library knows nothing of libtorch, so it needs only nvcc to build, and the programs need only dlopen to use
// it. A program may also bring its own functions for memory of the host: the tests do.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Changes with any structure or function below.
#define QUANTMOE_CUDA_ABI 2
#define QUANTMOE_MAX_WIDTHS 7
#define QUANTMOE_BLOCK_COLUMNS 128
// How scales are chosen (plan/options/scale_rule.h).
#define QUANTMOE_SCALES_RANGE 0
#define QUANTMOE_SCALES_POSITIVE 1
#define QUANTMOE_SCALES_SIGNED 2

// Fits the grid of every group of `matrices` weight matrices at every width (quant/gptq/grid.h).
struct QuantmoeFitGrid {
  const float* weights;     // [matrices, in, out]
  const float* importance;  // [matrices, in]
  float* scales;            // [matrices, widths, in / group_size, out], out
  int64_t matrices, in, out;
  int32_t widths, group_size;
  int32_t bits[QUANTMOE_MAX_WIDTHS];
  int32_t rules[QUANTMOE_MAX_WIDTHS];  // QUANTMOE_SCALES_...
};

// Solves columns [begin, begin + size) of the processing order, one after the other, for all matrices and
// widths (quant/gptq/block_triangle.h). Column n of `product` and `difference` is output n % out at width
// n / out.
struct QuantmoeSolveBlock {
  const float* upper;    // [matrices, in, in]: V
  const float* added;    // [matrices, in]: what the factored diagonal has more than the Hessian's
  const int32_t* order;  // [matrices, in]: processing order -> input channel
  const float* weights;  // [matrices, in, out], by channel
  const float* scales;   // [matrices, widths, in / group_size, out]
  const float* product;  // first matrix: [size, widths * out]; the next is `product_stride` values away
  float* difference;     // [matrices, in, widths * out], by processing order; rows of the block: out
  uint8_t* codes;        // [matrices, widths, in, out], by channel; rows of the block: out
  double* distortion;    // [matrices, widths * out]: the block's part is added
  int64_t product_stride;
  int64_t matrices, in, out;
  int32_t widths, group_size, begin, size;  // size at most QUANTMOE_BLOCK_COLUMNS
  int32_t bits[QUANTMOE_MAX_WIDTHS];
};

struct QuantmoeGpu {
  char name[256];
  int32_t major, minor;  // compute capability
  int32_t driver;        // 1000 * major + 10 * minor
  int64_t memory_bytes;
};

// All return a cudaError_t; 0 is success. Work is put on `stream` (a cudaStream_t) of GPU `gpu`.
typedef int (*QuantmoeFitGridFunction)(const struct QuantmoeFitGrid* grid, int gpu, void* stream);
typedef int (*QuantmoeSolveBlockFunction)(const struct QuantmoeSolveBlock* block, int gpu, void* stream);

#pragma GCC visibility push(default)
int quantmoe_cuda_abi(void);
int quantmoe_cuda_fit_grid(const struct QuantmoeFitGrid* grid, int gpu, void* stream);
int quantmoe_cuda_solve_block(const struct QuantmoeSolveBlock* block, int gpu, void* stream);
int quantmoe_cuda_describe(int gpu, struct QuantmoeGpu* result);
// Waits for the GPU. An error that stays (a sticky one) means that the process must end.
int quantmoe_cuda_health(int gpu);
const char* quantmoe_cuda_error_text(int error);
#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
