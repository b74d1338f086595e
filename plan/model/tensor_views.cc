#include "plan/model/tensor_views.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

using Shape = std::vector<int64_t>;

constexpr absl::string_view kScaleSuffix = "_scale_inv";
constexpr int64_t kMxfp4Block = 32;

// Parts of names that transformers 5 writes when it does not keep the published ones: {published, written}.
constexpr std::pair<absl::string_view, absl::string_view> kRenamed[] = {
    {".block_sparse_moe.gate.", ".mlp.gate."},
    {".block_sparse_moe.gate.", ".mlp.router."},
    {".block_sparse_moe.router.layer.", ".block_sparse_moe.router."}};

std::string ShapeText(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

int64_t Product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

absl::Status CheckPlain(const Checkpoint& checkpoint, const std::string& name, const Shape& shape) {
  return CheckStored(checkpoint, name, shape, IsFloat, "F32, F16 or BF16");
}

absl::Status StoredTwice(const Checkpoint& checkpoint, const std::string& one, const std::string& other) {
  return TensorError(checkpoint, one,
                     absl::StrCat("and ", other, " hold the same weights; which are meant?"));
}

TensorView MakeView(const std::string& tensor, const Shape& shape) {
  TensorView view;
  view.tensor = tensor;
  view.shape = shape;
  return view;
}

std::string ScalesOf(const std::string& name) { return absl::StrCat(name, kScaleSuffix); }

bool IsFp8(const Checkpoint& checkpoint, absl::string_view name) {
  const Checkpoint::Location* found = checkpoint.Find(name);
  return found != nullptr && found->info.dtype == DType::kF8E4M3;
}

// Factors are numbers, or exponents of two: F8_E8M0, which some writers call U8.
bool IsFactor(DType dtype) { return IsFloat(dtype) || dtype == DType::kF8E8M0 || dtype == DType::kU8; }
constexpr absl::string_view kFactorDTypes = "F32, F16, BF16 or F8_E8M0";

Shape BlocksOf(const Shape& shape, int64_t rows, int64_t columns) {
  return {(shape[0] + rows - 1) / rows, (shape[1] + columns - 1) / columns};
}

// A grid may be somewhat larger than the blocks that there are; what is beyond is padding. But not where it
// is the grid of blocks of a fraction of the size, of which nothing would be padding.
bool IsPadded(const Shape& grid, const Shape& shape, int64_t rows, int64_t columns) {
  const Shape blocks = BlocksOf(shape, rows, columns);
  if (grid.size() != 2 || grid == blocks) return grid == blocks;
  for (size_t i = 0; i < 2; ++i) {
    if (grid[i] < blocks[i] || (grid[i] >= 2 * blocks[i] && grid[i] != blocks[i] + 1)) return false;
  }
  for (int64_t part = 2; part <= std::min(rows, columns); ++part) {
    if (rows % part != 0 || columns % part != 0) continue;
    if (grid == BlocksOf(shape, rows / part, columns / part)) return false;
  }
  return true;
}

// The factors of an FP8 matrix: one for each block, or, where config.json has no blocks, one for all.
absl::StatusOr<TensorView> Fp8View(const ModelSpec& spec, const Checkpoint& checkpoint,
                                   const std::string& name) {
  const Shape& shape = checkpoint.Find(name)->info.shape;
  if (!spec.storage.fp8) {
    return TensorError(checkpoint, name,
                       "has dtype F8_E4M3, but config.json has no quantization_config of the method fp8");
  }
  if (shape.size() != 2) {
    return TensorError(checkpoint, name, "has dtype F8_E4M3; it is read for matrices only",
                       "MODEL_UNSUPPORTED");
  }
  TensorView view = MakeView(name, shape);
  view.scales = ScalesOf(name);
  view.encoding = Encoding::kFp8Blocks;
  const bool blocks = spec.storage.fp8_block_rows > 0;
  view.block_rows = blocks ? spec.storage.fp8_block_rows : std::max<int64_t>(shape[0], 1);
  view.block_columns = blocks ? spec.storage.fp8_block_columns : std::max<int64_t>(shape[1], 1);
  Shape expected = BlocksOf(shape, view.block_rows, view.block_columns);
  if (const Checkpoint::Location* found = checkpoint.Find(view.scales)) {
    const Shape& stored = found->info.shape;
    const bool scalar = !blocks && found->info.elements() == 1 && stored.size() < 2;
    const bool padded = blocks && IsPadded(stored, shape, view.block_rows, view.block_columns);
    if (scalar || padded) expected = stored;
  }
  RETURN_IF_ERROR(CheckStored(checkpoint, view.scales, expected, IsFactor, kFactorDTypes));
  return view;
}

// A linear's weight that is stored as it is used, or in FP8.
absl::StatusOr<TensorView> WholeView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                     const std::string& name) {
  if (IsFp8(checkpoint, name)) return Fp8View(spec, checkpoint, name);
  if (checkpoint.Find(ScalesOf(name)) != nullptr) {
    return TensorError(checkpoint, name, absl::StrCat("is not F8_E4M3, but ", ScalesOf(name), " is there"));
  }
  return MakeView(name, checkpoint.Find(name)->info.shape);
}

// Whether a tensor that no linear reads is a weight in FP8, which means nothing without its factors, and
// nothing to a reader of the artifact.
bool IsKeptFp8(const ModelSpec& spec, const Checkpoint& checkpoint, absl::string_view name) {
  if (!spec.storage.fp8 || !IsFp8(checkpoint, name)) return false;
  if (checkpoint.Find(name)->info.shape.size() != 2) return false;
  return absl::EndsWith(name, ".weight") || checkpoint.Find(ScalesOf(std::string(name))) != nullptr;
}

// The three ways to store all experts of a layer in one tensor.
enum class Fusion { kStacked, kGranite, kMxfp4 };

struct FusedTensor {
  Fusion fusion = Fusion::kStacked;
  std::string base;  // MXFP4: without _blocks and _scales
  std::string name;  // the tensor of the weights
};

// Modules that may hold the fused tensors of a linear's layer.
std::vector<std::string> FusedModules(const ModelSpec& spec, const Linear& linear) {
  const std::string expert = linear.name.substr(0, linear.name.rfind('.'));
  std::vector<std::string> modules = {expert.substr(0, expert.rfind('.'))};
  const std::string plain = LayerPrefix(spec, linear.layer) + "mlp.experts";
  if (modules.front() != plain) modules.push_back(plain);
  return modules;
}

std::string FusedName(const std::string& module, bool down) {
  return absl::StrCat(module, down ? ".down_proj" : ".gate_up_proj");
}

// The fused tensors that could hold a linear of an expert, of those that are there.
std::vector<FusedTensor> FindFused(const ModelSpec& spec, const Checkpoint& checkpoint,
                                   const Linear& linear) {
  const bool down = linear.kind == LinearKind::kExpertDown;
  std::vector<FusedTensor> found;
  const auto add = [&](Fusion fusion, const std::string& base, const std::string& name) {
    if (checkpoint.Find(name) != nullptr) found.push_back({fusion, base, name});
  };
  for (const std::string& module : FusedModules(spec, linear)) {
    const std::string base = FusedName(module, down);
    add(Fusion::kStacked, base, base);
    add(Fusion::kMxfp4, base, base + "_blocks");
  }
  const std::string granite = absl::StrCat(LayerPrefix(spec, linear.layer), "block_sparse_moe.",
                                           down ? "output_linear" : "input_linear", ".weight");
  add(Fusion::kGranite, granite, granite);
  return found;
}

// Which stored outputs are the linear's: gate and up are halves, or alternate.
void PickOutputs(const ModelSpec& spec, const Linear& linear, TensorView& view) {
  view.expert = linear.expert;
  if (linear.kind == LinearKind::kExpertDown) return;
  const bool up = linear.kind == LinearKind::kExpertUp;
  view.stride = spec.storage.interleaved_experts ? 2 : 1;
  view.first = !up ? 0 : spec.storage.interleaved_experts ? 1 : linear.out;
}

int64_t FusedOutputs(const Linear& linear) {
  return linear.kind == LinearKind::kExpertDown ? linear.out : 2 * linear.out;
}

// [experts, in, out] instead of [experts, out, in]. Either tensor of a layer may be square, but never both.
bool IsTransposed(const ModelSpec& spec, const Checkpoint& checkpoint, const std::string& name) {
  if (spec.storage.interleaved_experts) return true;  // GPT-OSS has no other plain form
  const std::string module = name.substr(0, name.rfind('.'));
  const auto has_shape = [&](bool down, const Shape& shape) {
    const Checkpoint::Location* found = checkpoint.Find(FusedName(module, down));
    return found != nullptr && found->info.shape == shape;
  };
  const int64_t experts = spec.moe.experts, width = spec.moe.width;
  return has_shape(false, {experts, spec.hidden, 2 * width}) &&
         has_shape(true, {experts, width, spec.hidden});
}

absl::StatusOr<TensorView> PlainFusedView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                          const Linear& linear, const FusedTensor& fused) {
  TensorView view = MakeView(fused.name, {linear.out, linear.in});
  view.transposed = fused.fusion == Fusion::kStacked && IsTransposed(spec, checkpoint, fused.name);
  PickOutputs(spec, linear, view);
  Shape expected = {spec.moe.experts, FusedOutputs(linear), linear.in};
  if (view.transposed) std::swap(expected[1], expected[2]);
  RETURN_IF_ERROR(CheckPlain(checkpoint, fused.name, expected));
  return view;
}

// Exponents of MXFP4 [experts, outputs, blocks]; rows and columns beyond are padding.
absl::Status CheckExponents(const Checkpoint& checkpoint, const std::string& name, Shape expected) {
  const Checkpoint::Location* found = checkpoint.Find(name);
  if (found != nullptr && found->info.shape.size() == 3 && found->info.shape[0] == expected[0] &&
      found->info.shape[1] >= expected[1] && found->info.shape[2] >= expected[2]) {
    expected = found->info.shape;
  }
  const auto is_exponent = [](DType dtype) { return dtype == DType::kU8 || dtype == DType::kF8E8M0; };
  return CheckStored(checkpoint, name, expected, is_exponent, "U8 or F8_E8M0");
}

absl::StatusOr<TensorView> Mxfp4View(const ModelSpec& spec, const Checkpoint& checkpoint,
                                     const Linear& linear, const FusedTensor& fused) {
  if (!spec.storage.interleaved_experts) {
    return TensorError(checkpoint, fused.name,
                       absl::StrCat("is MXFP4, which is unknown for ", spec.model_type), "MODEL_UNSUPPORTED");
  }
  TensorView view = MakeView(fused.name, {linear.out, linear.in});
  view.scales = fused.base + "_scales";
  view.encoding = Encoding::kMxfp4;
  PickOutputs(spec, linear, view);
  if (linear.in % kMxfp4Block != 0) {
    return TensorError(checkpoint, fused.name,
                       absl::StrCat("is MXFP4, but 32 does not divide its input width ", linear.in));
  }
  const Shape expected = {spec.moe.experts, FusedOutputs(linear), linear.in / kMxfp4Block};
  RETURN_IF_ERROR(CheckExponents(checkpoint, view.scales, expected));
  const auto is_byte = [](DType dtype) { return dtype == DType::kU8; };
  const Shape blocks = {expected[0], expected[1], expected[2], kMxfp4Block / 2};
  RETURN_IF_ERROR(CheckStored(checkpoint, view.tensor, blocks, is_byte, "U8"));
  return view;
}

// The names of the biases of an expert's linear that are there.
std::vector<std::string> FindBiases(const ModelSpec& spec, const Checkpoint& checkpoint,
                                    const Linear& linear) {
  std::vector<std::string> names = {linear.name + ".bias"};
  if (IsExpert(linear.kind)) {
    for (const std::string& module : FusedModules(spec, linear)) {
      names.push_back(FusedName(module, linear.kind == LinearKind::kExpertDown) + "_bias");
    }
  }
  std::erase_if(names, [&](const std::string& name) { return checkpoint.Find(name) == nullptr; });
  return names;
}

// The name in the checkpoint of a tensor with a published name.
std::string StoredName(const Checkpoint& checkpoint, const std::string& published) {
  if (checkpoint.Find(published) != nullptr) return published;
  for (const auto& [from, to] : kRenamed) {
    std::string name = absl::StrReplaceAll(published, {{from, to}});
    if (checkpoint.Find(name) != nullptr) return name;
  }
  return published;
}

DType DTypeOfModel(const ModelSpec& spec) {
  return spec.dtype == "float16" ? DType::kF16 : spec.dtype == "float32" ? DType::kF32 : DType::kBF16;
}

// Names of the checkpoint that are published under another one.
std::map<std::string, std::string> Renamed(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::map<std::string, std::string> renamed;
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    for (const std::string& name : {TensorNames::Router(spec, layer), TensorNames::RouterBias(spec, layer)}) {
      if (name.empty()) continue;
      const std::string stored = StoredName(checkpoint, name);
      if (stored != name) renamed[stored] = name;
    }
  }
  return renamed;
}

}  // namespace

absl::Status TensorError(const Checkpoint& checkpoint, const std::string& name, absl::string_view what,
                         absl::string_view reason) {
  const Checkpoint::Location* found = checkpoint.Find(name);
  const std::string file = found != nullptr ? found->file : checkpoint.listing_file();
  return MakeError(absl::StatusCode::kInvalidArgument, reason,
                   absl::StrCat(file, ": tensor ", name, " ", what), {{"tensor", name}, {"file", file}});
}

bool IsFloat(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

absl::Status CheckStored(const Checkpoint& checkpoint, const std::string& name,
                         const std::vector<int64_t>& shape, bool (*allowed)(DType),
                         absl::string_view dtypes) {
  const Checkpoint::Location* found = checkpoint.Find(name);
  if (found == nullptr) return TensorError(checkpoint, name, absl::StrCat(ShapeText(shape), " is missing"));
  if (found->info.shape != shape) {
    return TensorError(
        checkpoint, name,
        absl::StrCat("has shape ", ShapeText(found->info.shape), ", expected ", ShapeText(shape)));
  }
  if (allowed(found->info.dtype)) return absl::OkStatus();
  return TensorError(checkpoint, name,
                     absl::StrCat("has dtype ", found->info.dtype_name(), ", expected ", dtypes));
}

absl::StatusOr<TensorView> WeightView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const Linear& linear) {
  const std::string own = linear.name + ".weight";
  std::vector<FusedTensor> fused;
  if (checkpoint.Find(own) == nullptr && IsExpert(linear.kind)) fused = FindFused(spec, checkpoint, linear);
  if (fused.size() > 1) return StoredTwice(checkpoint, fused[0].name, fused[1].name);
  if (fused.empty()) {
    const auto readable = [](DType dtype) { return IsFloat(dtype) || dtype == DType::kF8E4M3; };
    RETURN_IF_ERROR(CheckStored(checkpoint, own, {linear.out, linear.in}, readable, "F32, F16 or BF16"));
    return WholeView(spec, checkpoint, own);
  }
  if (fused[0].fusion == Fusion::kMxfp4) return Mxfp4View(spec, checkpoint, linear, fused[0]);
  return PlainFusedView(spec, checkpoint, linear, fused[0]);
}

absl::StatusOr<TensorView> BiasView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                    const Linear& linear) {
  const std::string own = linear.name + ".bias";
  const std::vector<std::string> found = FindBiases(spec, checkpoint, linear);
  if (found.size() > 1) return StoredTwice(checkpoint, found[0], found[1]);
  TensorView view = MakeView(found.empty() ? own : found[0], {linear.out});
  if (view.tensor == own) {
    RETURN_IF_ERROR(CheckPlain(checkpoint, own, {linear.out}));
    return view;
  }
  PickOutputs(spec, linear, view);
  RETURN_IF_ERROR(CheckPlain(checkpoint, view.tensor, {spec.moe.experts, FusedOutputs(linear)}));
  return view;
}

absl::StatusOr<TensorView> OtherView(const ModelSpec& spec, const Checkpoint& checkpoint,
                                     const std::string& name) {
  const std::string stored = StoredName(checkpoint, name);
  const Checkpoint::Location* found = checkpoint.Find(stored);
  if (found == nullptr) return TensorError(checkpoint, name, "is missing");
  if (IsKeptFp8(spec, checkpoint, stored)) return Fp8View(spec, checkpoint, stored);
  return MakeView(stored, found->info.shape);
}

absl::Status CheckLinear(const ModelSpec& spec, const Checkpoint& checkpoint, const Linear& linear) {
  RETURN_IF_ERROR(WeightView(spec, checkpoint, linear).status());
  if (linear.bias) return BiasView(spec, checkpoint, linear).status();
  const std::vector<std::string> biases = FindBiases(spec, checkpoint, linear);
  if (biases.empty()) return absl::OkStatus();
  return TensorError(checkpoint, biases[0], "is there, but config.json says that it has no bias");
}

absl::Status CheckExperts(const ModelSpec& spec, const Checkpoint& checkpoint, int layer) {
  const int experts = static_cast<int>(spec.moe.experts);
  for (const LinearKind kind : {LinearKind::kExpertGate, LinearKind::kExpertUp, LinearKind::kExpertDown}) {
    const auto own = [&](int expert) { return LinearName(spec, layer, kind, expert) + ".weight"; };
    if (checkpoint.Find(own(experts)) != nullptr) {
      return TensorError(checkpoint, own(experts),
                         absl::StrCat("is there, but config.json has ", experts, " experts"));
    }
    Linear first;
    first.name = LinearName(spec, layer, kind, 0);
    first.layer = layer;
    first.kind = kind;
    const std::vector<FusedTensor> fused = FindFused(spec, checkpoint, first);
    for (int expert = 0; !fused.empty() && expert < experts; ++expert) {
      if (checkpoint.Find(own(expert)) != nullptr) return StoredTwice(checkpoint, own(expert), fused[0].name);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOther(const Checkpoint& checkpoint, const std::string& name,
                        const std::vector<int64_t>& shape) {
  return CheckPlain(checkpoint, StoredName(checkpoint, name), shape);
}

StoredRun RunOf(const TensorInfo& stored, const TensorView& view) {
  StoredRun run{0, 0, stored.shape};
  const int64_t element = DTypeBytes(stored.dtype);
  if (view.expert >= 0) {
    run.shape.erase(run.shape.begin());
    run.offset = view.expert * Product(run.shape) * element;
  }
  if (view.expert >= 0 && !view.transposed && view.stride == 1) {
    const int64_t output_bytes = Product(run.shape) / run.shape[0] * element;
    run.offset += view.first * output_bytes;
    run.shape[0] = view.shape[0];
  }
  run.bytes = Product(run.shape) * element;
  return run;
}

int64_t ReadBytes(const Checkpoint& checkpoint, const TensorView& view) {
  int64_t bytes = RunOf(checkpoint.Find(view.tensor)->info, view).bytes;
  if (!view.scales.empty()) bytes += RunOf(checkpoint.Find(view.scales)->info, view).bytes;
  return bytes;
}

int64_t StoredBytes(const Checkpoint& checkpoint, const TensorView& view) {
  const int64_t elements = Product(view.shape);
  if (view.encoding == Encoding::kMxfp4) return elements / 2 + elements / kMxfp4Block;
  if (view.encoding == Encoding::kFp8Blocks) return ReadBytes(checkpoint, view);
  return elements * DTypeBytes(checkpoint.Find(view.tensor)->info.dtype);
}

int64_t LargestReadBytes(const ModelSpec& spec, const Checkpoint& checkpoint) {
  int64_t most = 0;
  for (const Linear& linear : ListLinears(spec)) {
    const absl::StatusOr<TensorView> view = WeightView(spec, checkpoint, linear);
    if (view.ok()) most = std::max(most, ReadBytes(checkpoint, *view));
  }
  return most;
}

std::vector<TensorInfo> KeptTensors(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<TensorInfo> kept;
  absl::flat_hash_set<std::string> taken;
  for (const Linear& linear : ListLinears(spec)) {
    if (const auto view = WeightView(spec, checkpoint, linear); view.ok()) {
      taken.insert(view->tensor);
      taken.insert(view->scales);
    }
    if (!linear.bias) continue;
    if (const auto view = BiasView(spec, checkpoint, linear); view.ok()) {
      taken.insert(view->tensor);
      kept.push_back({linear.name + ".bias", checkpoint.Find(view->tensor)->info.dtype, view->shape, 0, 0});
    }
  }
  const std::map<std::string, std::string> renamed = Renamed(spec, checkpoint);
  for (const auto& [name, location] : checkpoint.tensors()) {
    if (taken.contains(name)) continue;
    if (absl::EndsWith(name, kScaleSuffix) &&
        IsKeptFp8(spec, checkpoint, absl::StripSuffix(name, kScaleSuffix))) {
      continue;
    }
    TensorInfo info = location.info;
    if (const auto published = renamed.find(name); published != renamed.end()) info.name = published->second;
    if (IsKeptFp8(spec, checkpoint, name)) info.dtype = DTypeOfModel(spec);
    info.end = info.dtype == DType::kForeign ? info.size_bytes() : 0;
    info.begin = 0;
    kept.push_back(std::move(info));
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return kept;
}

std::vector<absl::Status> FindKeptProblems(const ModelSpec& spec, const Checkpoint& checkpoint) {
  absl::flat_hash_set<std::string> linears, weights;
  for (const Linear& linear : ListLinears(spec)) {
    linears.insert(linear.name);
    weights.insert(linear.name + ".weight");
  }
  const absl::flat_hash_set<std::string> written = {"qweight", "qzeros", "scales", "g_idx"};
  std::vector<absl::Status> problems;
  for (const auto& [name, location] : checkpoint.tensors()) {
    const size_t dot = name.rfind('.');
    if (dot != std::string::npos && linears.contains(name.substr(0, dot)) &&
        written.contains(name.substr(dot + 1))) {
      problems.push_back(
          TensorError(checkpoint, name,
                      "has the name of a tensor that the quantized linear needs; is it quantized already?"));
    }
    if (weights.contains(name) || !IsKeptFp8(spec, checkpoint, name)) continue;
    absl::Status status = Fp8View(spec, checkpoint, name).status();
    if (!status.ok()) problems.push_back(std::move(status));
  }
  return problems;
}

std::string ExpertStorage(const ModelSpec& spec, const Checkpoint& checkpoint) {
  const std::vector<Linear> linears = ListLinears(spec);
  const auto expert =
      std::find_if(linears.begin(), linears.end(), [](const Linear& l) { return IsExpert(l.kind); });
  if (expert == linears.end()) return "";
  const absl::StatusOr<TensorView> view = WeightView(spec, checkpoint, *expert);
  if (!view.ok()) return "";
  const absl::string_view layout = view->expert < 0   ? "per_expert"
                                   : view->transposed ? "fused_transposed"
                                                      : "fused";
  constexpr absl::string_view kEncodings[] = {"", "_fp8", "_mxfp4"};
  return absl::StrCat(layout, kEncodings[static_cast<size_t>(view->encoding)]);
}

}  // namespace quantmoe
