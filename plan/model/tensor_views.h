// Where the checkpoint stores what the model needs: one file tensor, a slice of it, and an encoding.
// Published checkpoints store experts one by one or all of a layer in one tensor, and weights plainly, in FP8
// or in MXFP4; which it is follows from names, shapes and dtypes in the headers. Everything downstream sees
// [out, in] matrices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/model/linears.h"
#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"

namespace quantmoe {

enum class Encoding {
  kPlain,      // F32, F16, BF16
  kFp8Blocks,  // F8_E4M3 [out, in] and a factor per block, [ceil(out / rows), ceil(in / columns)] or padded
  kMxfp4  // OCP MX v1.0: U8 [out, in / 32, 16], two E2M1 a byte, low half first; E8M0 scales [out, in / 32]
};

struct TensorView {
  std::string tensor;  // in the checkpoint
  std::string scales;  // of an encoded one
  Encoding encoding = Encoding::kPlain;
  std::vector<int64_t> shape;  // of what is read: [out, in], or as stored for tensors that are no linear
  int64_t expert = -1;         // index on the stored first axis; -1: there is no such axis
  bool transposed = false;     // stored [in, out]
  int64_t first = 0;           // the stored outputs first, first + stride, ... are read
  int64_t stride = 1;
  int64_t block_rows = 0;  // of FP8
  int64_t block_columns = 0;
};

// The views of a linear; a bias must be one that the linear has. INVALID_ARGUMENT names tensor and file:
// MODEL_INVALID when it is missing, stored twice, or has another shape or dtype than the model needs;
// MODEL_UNSUPPORTED for a known encoding in an unknown place.
absl::StatusOr<TensorView> WeightView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const Linear& linear);
absl::StatusOr<TensorView> BiasView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                    const Linear& linear);
// Any other tensor by its published name, whatever its shape and dtype: as it is stored, or decoded where
// KeptTensors says so. INVALID_ARGUMENT MODEL_INVALID when it is missing.
absl::StatusOr<TensorView> OtherView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                     const std::string& name);

// The views of a linear are good, and there is no bias that config.json denies. Errors of these checks as of
// WeightView.
absl::Status CheckLinear(const ModelSpec& spec, const Checkpoint& checkpoint, const Linear& linear);
// The routed experts of a layer are as many as config.json says, and stored in one form only.
absl::Status CheckExperts(const ModelSpec& spec, const Checkpoint& checkpoint, int layer);
// A tensor that is no linear is there, plain and of this shape.
absl::Status CheckOther(const Checkpoint& checkpoint, const std::string& name,
                        const std::vector<int64_t>& shape);

// An error about a tensor; names its file, or the one that should say where it is.
absl::Status TensorError(const Checkpoint& checkpoint, const std::string& name, absl::string_view what,
                         absl::string_view reason = "MODEL_INVALID");
// A tensor is there with this shape and a dtype that is allowed; `dtypes` is what the message says of these.
absl::Status CheckStored(const Checkpoint& checkpoint, const std::string& name,
                         const std::vector<int64_t>& shape, bool (*allowed)(DType), absl::string_view dtypes);
// F32, F16 and BF16, which plain weights may be.
bool IsFloat(DType dtype);

// The smallest run of bytes of a stored tensor that holds what a view reads of it: the outputs themselves
// where they lie together, else the matrix of the expert.
struct StoredRun {
  int64_t offset = 0;  // bytes from the start of the tensor
  int64_t bytes = 0;
  std::vector<int64_t> shape;
};
StoredRun RunOf(const TensorInfo& stored, const TensorView& view);
// Bytes that are read for a view, its scales included.
int64_t ReadBytes(const Checkpoint& checkpoint, const TensorView& view);
// Bytes of the checkpoint that are the view's own.
int64_t StoredBytes(const Checkpoint& checkpoint, const TensorView& view);
// Of the linear that needs most; 0 for linears that are not there.
int64_t LargestReadBytes(const ModelSpec& spec, const Checkpoint& checkpoint);

// The tensors of an artifact that are no quantized linear, by published name: those of the checkpoint that no
// linear reads, of any dtype, and a bias for each linear that has one. Matrices in FP8 with factors, as
// layers that predict further tokens have, become the dtype of the model. `begin` is 0, and `end` the size of
// a tensor whose dtype is foreign.
std::vector<TensorInfo> KeptTensors(const ModelSpec& spec, const Checkpoint& checkpoint);
// Every tensor that an artifact cannot keep: its name is one that a quantized linear needs, or its factors
// are not there. INVALID_ARGUMENT MODEL_INVALID names tensor and file.
std::vector<absl::Status> FindKeptProblems(const ModelSpec& spec, const Checkpoint& checkpoint);

// How routed experts are stored: "per_expert", "fused", "fused_transposed", then "_fp8" or "_mxfp4"; empty
// without experts, or when they are not there.
std::string ExpertStorage(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace quantmoe
