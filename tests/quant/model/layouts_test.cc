// The same weights in every form that checkpoints are published in: fused, transposed, sharded, FP8 and
// MXFP4. Each case rewrites a golden model; encoded weights are compared with decoders written here from the
// formats' definitions.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "plan/model/model_config.h"
#include "plan/model/tensor_problems.h"
#include "quant/model/decoder.h"
#include "quant/model/likelihood.h"
#include "quant/model/stored_tensor.h"
#include "quant/tensor_bytes.h"
#include "sources/model_sources.h"
#include "sources/model_uri.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr LinearKind kExpertKinds[] = {LinearKind::kExpertGate, LinearKind::kExpertUp,
                                       LinearKind::kExpertDown};

struct Source {
  json config;
  NamedTensors tensors;
};

Source ReadGolden(const std::string& family) {
  const auto directory = std::filesystem::canonical(std::string(QUANTMOE_TESTDATA)) / "goldens" / family;
  auto tensors = ReadTensorFile((directory / "model.safetensors").string());
  if (!tensors.ok()) throw std::runtime_error(tensors.status().ToString());
  return {json::parse(ReadTestFile(directory / "config.json")), *std::move(tensors)};
}

struct Model {
  ModelSpec spec;
  std::shared_ptr<Checkpoint> checkpoint;
};

class LayoutsTest : public ::testing::Test {
 protected:
  std::filesystem::path WriteConfig(const json& config) {
    std::filesystem::path directory = root_ / std::to_string(++written_);
    std::filesystem::create_directories(directory);
    std::ofstream(directory / "config.json") << config.dump();
    return directory;
  }

  absl::StatusOr<Model> Open(const std::filesystem::path& path) {
    auto directory = OpenModelDirectory({ModelUri::Scheme::kFile, path.string()});
    if (!directory.ok()) return directory.status();
    std::shared_ptr<ModelDirectory> shared = *std::move(directory);
    auto checkpoint = Checkpoint::Open(shared);
    if (!checkpoint.ok()) return checkpoint.status();
    auto spec = ParseModelConfig(ReadTestFile(path / "config.json"));
    if (!spec.ok()) return spec.status();
    Model model{*std::move(spec), *std::move(checkpoint)};
    const absl::Status checked = CheckTensors(model.spec, *model.checkpoint);
    if (!checked.ok()) return checked;
    return model;
  }

  absl::StatusOr<Model> Write(const Source& source) {
    const auto directory = WriteConfig(source.config);
    const absl::Status status = WriteTensorFile((directory / "model.safetensors").string(), source.tensors);
    if (!status.ok()) return status;
    return Open(directory);
  }

  // What is wrong with a checkpoint, from its headers alone.
  absl::Status Problem(const Source& source) { return Write(source).status(); }

  const c10::InferenceMode inference_;

 private:
  const TemporaryDirectory root_;
  int written_ = 0;
};

at::Tensor Logits(const Model& model) {
  CheckpointWeights weights(model.spec, model.checkpoint, at::kFloat);
  const at::Tensor ids = at::arange(40).remainder(model.spec.vocab);
  const auto hidden = RunModel(model.spec, ids, {{2, 20}}, weights, nullptr);
  if (!hidden.ok()) throw std::runtime_error(hidden.status().ToString());
  const auto head = OutputHead::Load(model.spec, weights);
  if (!head.ok()) throw std::runtime_error(head.status().ToString());
  return head->Logits(*hidden);
}

// Every weight and bias, what an artifact keeps, and the logits are the same to the bit.
void ExpectSame(const Model& expected, const Model& actual) {
  CheckpointWeights one(expected.spec, expected.checkpoint, at::kFloat);
  CheckpointWeights other(actual.spec, actual.checkpoint, at::kFloat);
  for (const Linear& linear : ListLinears(expected.spec)) {
    ASSERT_OK_AND_ASSIGN(const LinearLayer a, LoadLinear(one, linear));
    ASSERT_OK_AND_ASSIGN(const LinearLayer b, LoadLinear(other, linear));
    ASSERT_TRUE(a.weight.equal(b.weight)) << linear.name;
    ASSERT_TRUE(b.weight.is_contiguous()) << linear.name;
    ASSERT_TRUE(!linear.bias || a.bias.equal(b.bias)) << linear.name;
  }
  const auto kept = [](const Model& model) {
    std::set<std::string> all;
    for (const TensorInfo& t : KeptTensors(model.spec, *model.checkpoint))
      all.insert(absl::StrCat(t.name, " ", DTypeName(t.dtype), " ", t.elements()));
    return all;
  };
  EXPECT_EQ(kept(expected), kept(actual));
  EXPECT_TRUE(Logits(expected).equal(Logits(actual)));
}

// Puts the experts of each layer into one tensor, as transformers 5 does in memory.
NamedTensors Fuse(const ModelSpec& spec, NamedTensors tensors, bool transposed) {
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    if (!spec.layers[static_cast<size_t>(layer)].moe) continue;
    std::vector<at::Tensor> gate_up, down;
    for (int e = 0; e < spec.moe.experts; ++e) {
      std::vector<at::Tensor> own;
      for (const LinearKind kind : kExpertKinds)
        own.push_back(tensors.extract(LinearName(spec, layer, kind, e) + ".weight").mapped());
      gate_up.push_back(at::cat({own[0], own[1]}, 0));
      down.push_back(own[2]);
      if (!transposed) continue;
      gate_up.back() = gate_up.back().t();
      down.back() = down.back().t();
    }
    tensors[LayerPrefix(spec, layer) + "mlp.experts.gate_up_proj"] = at::stack(gate_up).contiguous();
    tensors[LayerPrefix(spec, layer) + "mlp.experts.down_proj"] = at::stack(down).contiguous();
  }
  return tensors;
}

// The reverse: gate and up are the halves of a fused tensor [experts, in, out].
NamedTensors Unfuse(const ModelSpec& spec, NamedTensors tensors) {
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    if (!spec.layers[static_cast<size_t>(layer)].moe) continue;
    const std::string module = absl::StrCat(LayerPrefix(spec, layer), spec.names.experts, ".");
    const std::vector<at::Tensor> gate_up = tensors.extract(module + "gate_up_proj").mapped().chunk(2, -1);
    const at::Tensor down = tensors.extract(module + "down_proj").mapped();
    const at::Tensor sources[] = {gate_up[0], gate_up[1], down};
    for (int e = 0; e < spec.moe.experts; ++e) {
      for (size_t k = 0; k < 3; ++k) {
        tensors[LinearName(spec, layer, kExpertKinds[k], e) + ".weight"] = sources[k][e].t().contiguous();
      }
    }
  }
  return tensors;
}

void Rename(NamedTensors& tensors, absl::string_view from, absl::string_view to) {
  NamedTensors renamed;
  for (auto& [name, tensor] : tensors) renamed[absl::StrReplaceAll(name, {{from, to}})] = std::move(tensor);
  tensors = std::move(renamed);
}

// Published in one tensor a layer; other tools write them one by one, as artifacts have them.
TEST_F(LayoutsTest, ExpertsOfMultimodalModelsMayBeOneByOne) {
  for (const char* family : {"llama4", "qwen3_vl_moe"}) {
    Source source = ReadGolden(family);
    ASSERT_OK_AND_ASSIGN(const Model fused, Write(source));
    EXPECT_EQ(ExpertStorage(fused.spec, *fused.checkpoint), "fused_transposed") << family;
    source.tensors = Unfuse(fused.spec, source.tensors);
    ASSERT_OK_AND_ASSIGN(const Model single, Write(source));
    EXPECT_EQ(ExpertStorage(single.spec, *single.checkpoint), "per_expert") << family;
    ExpectSame(fused, single);
  }
}

TEST_F(LayoutsTest, FusedExpertsAreTheSameModel) {
  for (const char* family : {"mixtral", "qwen2_moe", "qwen3_moe"}) {
    const Source source = ReadGolden(family);
    ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
    EXPECT_EQ(ExpertStorage(plain.spec, *plain.checkpoint), "per_expert");
    for (const bool transposed : {false, true}) {
      Source fused{source.config, Fuse(plain.spec, source.tensors, transposed)};
      Rename(fused.tensors, ".block_sparse_moe.gate.", ".mlp.gate.");
      ASSERT_OK_AND_ASSIGN(const Model model, Write(fused));
      EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), transposed ? "fused_transposed" : "fused");
      ExpectSame(plain, model);
    }
  }
}

// Halves of one expert lie together, so nothing but them is read; transposed ones do not.
TEST_F(LayoutsTest, OnlyTheSliceIsRead) {
  const Source source = ReadGolden("mixtral");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  const Linear linear = ListLinears(plain.spec)[4];
  ASSERT_EQ(linear.kind, LinearKind::kExpertGate);
  const int64_t own = 4 * linear.weights();
  for (const bool transposed : {false, true}) {
    ASSERT_OK_AND_ASSIGN(const Model model,
                         Write({source.config, Fuse(plain.spec, source.tensors, transposed)}));
    ASSERT_OK_AND_ASSIGN(const TensorView view, WeightView(model.spec, *model.checkpoint, linear));
    EXPECT_EQ(ReadBytes(*model.checkpoint, view), transposed ? 2 * own : own);
    EXPECT_EQ(StoredBytes(*model.checkpoint, view), own);
  }
}

TEST_F(LayoutsTest, ShardsMayHoldFusedExperts) {
  const Source source = ReadGolden("qwen3_moe");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  NamedTensors shards[2];
  json index = {{"weight_map", json::object()}};
  for (auto& [name, tensor] : Fuse(plain.spec, source.tensors, /*transposed=*/false)) {
    const size_t shard = std::hash<std::string>()(name) % 2;
    shards[shard][name] = tensor;
    index["weight_map"][name] = absl::StrCat("model-0000", shard + 1, "-of-00002.safetensors");
  }
  const auto directory = WriteConfig(source.config);
  std::ofstream(directory / "model.safetensors.index.json") << index.dump();
  for (int i = 0; i < 2; ++i) {
    const std::string name = absl::StrCat("model-0000", i + 1, "-of-00002.safetensors");
    ASSERT_OK(WriteTensorFile((directory / name).string(), shards[i]));
  }
  ASSERT_OK_AND_ASSIGN(const Model model, Open(directory));
  ExpectSame(plain, model);
}

// OCP FP8 v1.0, E4M3: bias 7, no infinities.
float DecodeE4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return static_cast<float>(bits & 128 ? -magnitude : magnitude);
}

struct Encoded {
  at::Tensor bytes, scales, decoded;
};

Encoded MakeFp8(at::IntArrayRef shape, int64_t rows, int64_t columns) {
  Encoded made{at::randint(0, 256, shape, at::kByte), {}, at::empty(shape, at::kFloat)};
  made.bytes.masked_fill_(made.bytes.bitwise_and(127) == 127, 0);  // NaN
  made.scales = at::rand({(shape[0] + rows - 1) / rows, (shape[1] + columns - 1) / columns}).mul_(0.002);
  for (int64_t r = 0; r < shape[0]; ++r) {
    for (int64_t c = 0; c < shape[1]; ++c) {
      const float scale = made.scales[r / rows][c / columns].item<float>();
      made.decoded.data_ptr<float>()[r * shape[1] + c] =
          DecodeE4m3(made.bytes.const_data_ptr<uint8_t>()[r * shape[1] + c]) * scale;
    }
  }
  return made;
}

// A golden model in which every linear of `spec` is FP8, and the same with the decoded weights.
std::pair<Source, Source> MakeFp8Models(const std::string& family) {
  at::manual_seed(3);
  Source encoded = ReadGolden(family), plain = encoded;
  encoded.config["quantization_config"] = {{"quant_method", "fp8"},
                                           {"fmt", "e4m3"},
                                           {"activation_scheme", "dynamic"},
                                           {"weight_block_size", {16, 24}}};
  const auto spec = ParseModelConfig(plain.config.dump());
  for (const Linear& linear : ListLinears(*spec)) {
    const Encoded made = MakeFp8({linear.out, linear.in}, 16, 24);
    encoded.tensors[linear.name + ".weight"] = made.bytes.view(at::kFloat8_e4m3fn);
    encoded.tensors[linear.name + ".weight_scale_inv"] = made.scales;
    plain.tensors[linear.name + ".weight"] = made.decoded;
  }
  return {encoded, plain};
}

TEST_F(LayoutsTest, Fp8BlocksAreDecoded) {
  const auto [encoded, plain] = MakeFp8Models("mixtral");
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), "per_expert_fp8");
  ExpectSame(expected, model);
}

// Exponents of two in place of factors, by the name that transformers gives their dtype and as plain bytes.
TEST_F(LayoutsTest, Fp8FactorsMayBeExponents) {
  auto [encoded, plain] = MakeFp8Models("mixtral");
  encoded.config["quantization_config"]["scale_fmt"] = "ue8m0";
  int made = 0;
  for (const Linear& linear : ListLinears(*ParseModelConfig(plain.config.dump()))) {
    const std::string name = linear.name + ".weight";
    at::Tensor& factors = encoded.tensors[name + "_scale_inv"];
    const at::Tensor exponents = at::randint(112, 119, factors.sizes(), at::kByte);
    const at::Tensor values = encoded.tensors[name].view(at::kByte);
    factors = made++ % 2 == 0 ? exponents : exponents.view(at::kFloat8_e8m0fnu);
    at::Tensor decoded = at::empty({linear.out, linear.in}, at::kFloat);
    for (int64_t r = 0; r < linear.out; ++r) {
      for (int64_t c = 0; c < linear.in; ++c) {
        const uint8_t exponent = exponents.const_data_ptr<uint8_t>()[r / 16 * exponents.size(1) + c / 24];
        decoded.data_ptr<float>()[r * linear.in + c] = static_cast<float>(
            std::ldexp(DecodeE4m3(values.const_data_ptr<uint8_t>()[r * linear.in + c]), exponent - 127));
      }
    }
    plain.tensors[name] = decoded;
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

TEST_F(LayoutsTest, PaddingOfAGridOfFactorsIsLeftOut) {
  auto [encoded, plain] = MakeFp8Models("mixtral");
  for (auto& [name, tensor] : encoded.tensors) {
    if (absl::StrContains(name, "_scale_inv")) tensor = at::constant_pad_nd(tensor, {0, 1, 0, 1}, NAN);
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

TEST_F(LayoutsTest, WithoutBlocksAFactorIsForTheWholeWeight) {
  auto [encoded, plain] = MakeFp8Models("mixtral");
  encoded.config["quantization_config"]["weight_block_size"] = nullptr;
  int made = 0;
  for (const Linear& linear : ListLinears(*ParseModelConfig(plain.config.dump()))) {
    const std::string name = linear.name + ".weight";
    encoded.tensors[name + "_scale_inv"] = ++made % 2 == 0 ? at::full({}, 0.25) : at::full({1, 1}, 0.25);
    plain.tensors[name] = encoded.tensors[name].to(at::kFloat).mul(0.25);
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

// What is not run, such as a layer that predicts further tokens, becomes plain too.
TEST_F(LayoutsTest, KeptFp8BecomesTheDtypeOfTheModel) {
  auto [encoded, plain] = MakeFp8Models("mixtral");
  const Encoded made = MakeFp8({40, 64}, 16, 24);
  const std::string name = "model.layers.9.eh_proj.weight";
  encoded.tensors[name] = made.bytes.view(at::kFloat8_e4m3fn);
  encoded.tensors[name + "_scale_inv"] = made.scales;
  encoded.config["torch_dtype"] = "bfloat16";
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  std::map<std::string, DType> kept;
  for (const TensorInfo& info : KeptTensors(model.spec, *model.checkpoint)) kept[info.name] = info.dtype;
  EXPECT_EQ(kept.at(name), DType::kBF16);
  EXPECT_FALSE(kept.contains(name + "_scale_inv"));
  CheckpointWeights weights(model.spec, model.checkpoint, at::kFloat);
  ASSERT_OK_AND_ASSIGN(const at::Tensor read, weights.Tensor(name));
  EXPECT_TRUE(read.equal(made.decoded));
  EXPECT_TRUE(FindKeptProblems(model.spec, *model.checkpoint).empty());
  encoded.tensors.erase(name + "_scale_inv");
  ASSERT_OK_AND_ASSIGN(const Model bare, Write(encoded));
  const std::vector<absl::Status> problems = FindKeptProblems(bare.spec, *bare.checkpoint);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name + "_scale_inv")));
}

// OCP MX v1.0, E2M1: bias 1.
float DecodeE2m1(int bits) {
  const int exponent = bits >> 1 & 3, mantissa = bits & 1;
  const double magnitude = exponent == 0 ? 0.5 * mantissa : std::ldexp(1 + 0.5 * mantissa, exponent - 1);
  return static_cast<float>(bits & 8 ? -magnitude : magnitude);
}

// [experts, rows, columns / 32, 16], the scales beside, and decoded [experts, rows, columns].
Encoded MakeMxfp4(int64_t experts, int64_t rows, int64_t columns) {
  Encoded made{at::randint(0, 256, {experts, rows, columns / 32, 16}, at::kByte),
               at::randint(118, 123, {experts, rows, columns / 32}, at::kByte),
               at::empty({experts, rows, columns}, at::kFloat)};
  const uint8_t* bytes = made.bytes.const_data_ptr<uint8_t>();
  const uint8_t* scales = made.scales.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < made.decoded.numel(); ++i) {
    const int half = i % 2 == 0 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4;
    made.decoded.data_ptr<float>()[i] = std::ldexp(DecodeE2m1(half), scales[i / 32] - 127);
  }
  return made;
}

// GPT-OSS with experts in MXFP4, and in the plain form with the decoded weights.
std::pair<Source, Source> MakeMxfp4Models() {
  at::manual_seed(5);
  constexpr int64_t kExperts = 8, kHidden = 64, kWidth = 32;
  Source encoded = ReadGolden("gpt_oss");
  encoded.config["intermediate_size"] = kWidth;
  encoded.config["quantization_config"] = {{"quant_method", "mxfp4"}};
  Source plain = encoded;
  plain.config.erase("quantization_config");
  for (int layer = 0; layer < encoded.config["num_hidden_layers"]; ++layer) {
    const std::string module = absl::StrCat("model.layers.", layer, ".mlp.experts.");
    for (const auto& [name, rows, columns] :
         {std::tuple("gate_up_proj", 2 * kWidth, kHidden), std::tuple("down_proj", kHidden, kWidth)}) {
      const Encoded made = MakeMxfp4(kExperts, rows, columns);
      encoded.tensors.erase(module + name);
      encoded.tensors[absl::StrCat(module, name, "_blocks")] = made.bytes;
      encoded.tensors[absl::StrCat(module, name, "_scales")] = made.scales;
      plain.tensors[module + name] = made.decoded.transpose(1, 2).contiguous();
      const at::Tensor bias = at::randn({kExperts, rows}).mul_(0.2);
      encoded.tensors[absl::StrCat(module, name, "_bias")] = bias;
      plain.tensors[absl::StrCat(module, name, "_bias")] = bias;
    }
  }
  return {encoded, plain};
}

TEST_F(LayoutsTest, Mxfp4IsDecoded) {
  const auto [encoded, plain] = MakeMxfp4Models();
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  EXPECT_EQ(ExpertStorage(expected.spec, *expected.checkpoint), "fused_transposed");
  EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), "fused_mxfp4");
  ExpectSame(expected, model);
}

TEST_F(LayoutsTest, ExponentsOfMxfp4MayBePaddedAndHaveTheirOwnDtype) {
  auto [encoded, plain] = MakeMxfp4Models();
  for (auto& [name, tensor] : encoded.tensors) {
    if (!absl::StrContains(name, "_proj_scales")) continue;
    tensor = at::constant_pad_nd(tensor, {0, 2, 0, 3}, 255).view(at::kFloat8_e8m0fnu);
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

// In the plain form of GPT-OSS, gate and up are alternating columns; its biases alternate too.
TEST_F(LayoutsTest, GateAndUpOfGptOssAlternate) {
  const Source source = ReadGolden("gpt_oss");
  ASSERT_OK_AND_ASSIGN(const Model model, Write(source));
  CheckpointWeights weights(model.spec, model.checkpoint, at::kFloat);
  const std::string fused = "model.layers.1.mlp.experts.gate_up_proj";
  for (const Linear& linear : ListLinears(model.spec)) {
    if (linear.layer != 1 || linear.expert != 3 || linear.kind == LinearKind::kExpertDown) continue;
    const int first = linear.kind == LinearKind::kExpertUp;
    ASSERT_OK_AND_ASSIGN(const LinearLayer read, LoadLinear(weights, linear));
    EXPECT_TRUE(read.weight.equal(source.tensors.at(fused)[3].slice(1, first, 48, 2).t()));
    EXPECT_TRUE(read.bias.equal(source.tensors.at(fused + "_bias")[3].slice(0, first, 48, 2)));
  }
}

// Granite's halves, the same as transformers 5 names them, and one by one as an artifact names them.
TEST_F(LayoutsTest, GraniteHalvesAreTheSameModel) {
  const Source source = ReadGolden("granitemoe");
  ASSERT_OK_AND_ASSIGN(const Model published, Write(source));
  EXPECT_EQ(ExpertStorage(published.spec, *published.checkpoint), "fused");
  Source renamed = source, single = source;
  Rename(renamed.tensors, ".input_linear.weight", ".experts.gate_up_proj");
  Rename(renamed.tensors, ".output_linear.weight", ".experts.down_proj");
  Rename(renamed.tensors, ".router.layer.", ".router.");
  ASSERT_OK_AND_ASSIGN(const Model model, Write(renamed));
  ExpectSame(published, model);
  CheckpointWeights weights(published.spec, published.checkpoint, at::kFloat);
  for (const Linear& linear : ListLinears(published.spec)) {
    ASSERT_OK_AND_ASSIGN(single.tensors[linear.name + ".weight"], weights.LinearWeight(linear));
  }
  std::erase_if(single.tensors,
                [](const auto& tensor) { return tensor.first.ends_with("put_linear.weight"); });
  ASSERT_OK_AND_ASSIGN(const Model one_by_one, Write(single));
  EXPECT_EQ(ExpertStorage(one_by_one.spec, *one_by_one.checkpoint), "per_expert");
  ExpectSame(published, one_by_one);
}

TEST_F(LayoutsTest, BadMxfp4IsNamed) {
  const auto [encoded, plain] = MakeMxfp4Models();
  const std::string down = "model.layers.2.mlp.experts.down_proj";
  struct Case {
    std::function<void(NamedTensors&)> spoil;
    std::string says;
  };
  const std::vector<Case> cases = {
      {[&](NamedTensors& t) { t.erase(down + "_scales"); }, down + "_scales [8, 64, 1] is missing"},
      {[&](NamedTensors& t) {
         t[down + "_scales"] = at::zeros({8, 32, 1}, at::kByte);
       },
       "model.safetensors: tensor " + down + "_scales has shape [8, 32, 1], expected [8, 64, 1]"},
      {[&](NamedTensors& t) { t[down + "_blocks"] = t[down + "_blocks"].to(at::kInt); },
       "model.safetensors: tensor " + down + "_blocks has dtype I32, expected U8"},
      {[&](NamedTensors& t) { t.erase(down + "_bias"); }, "model.layers.2.mlp.experts.0.down_proj.bias"},
      {[&](NamedTensors& t) {
         t[down] = at::zeros({8, 32, 64});
       },
       "hold the same weights"}};
  for (const Case& bad : cases) {
    Source spoilt = encoded;
    bad.spoil(spoilt.tensors);
    EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.says)));
  }
  Source spoilt = plain;
  spoilt.tensors[down] = spoilt.tensors[down].transpose(1, 2).contiguous();
  EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("has shape [8, 64, 32], expected [8, 32, 64]")));
}

TEST_F(LayoutsTest, BadExpertTensorsAreNamedWithTheirFile) {
  const Source source = ReadGolden("qwen3_moe");
  ASSERT_OK_AND_ASSIGN(const Model plain, Write(source));
  const NamedTensors fused = Fuse(plain.spec, source.tensors, /*transposed=*/false);
  const std::string gate_up = "model.layers.0.mlp.experts.gate_up_proj";
  const std::string down = "model.layers.0.mlp.experts.down_proj";
  struct Case {
    std::function<void(NamedTensors&)> spoil;
    std::string says;
  };
  const std::vector<Case> cases = {
      {[&](NamedTensors& t) { t[gate_up] = t[gate_up].slice(0, 0, 4).contiguous(); },
       "model.safetensors: tensor " + gate_up + " has shape [4, 48, 64], expected [8, 48, 64]"},
      {[&](NamedTensors& t) { t[down] = t[down].slice(2, 0, 8).contiguous(); },
       "model.safetensors: tensor " + down + " has shape [8, 64, 8], expected [8, 64, 24]"},
      {[&](NamedTensors& t) { t[gate_up] = t[gate_up].to(at::kInt); },
       "model.safetensors: tensor " + gate_up + " has dtype I32, expected F32, F16 or BF16"},
      {[&](NamedTensors& t) { t.erase(down); }, "model.layers.0.mlp.experts.0.down_proj.weight"},
      {[&](NamedTensors& t) {
         t["model.layers.0.mlp.experts.0.gate_proj.weight"] = at::zeros({24, 64});
       },
       "hold the same weights"},
      {[&](NamedTensors& t) {
         t[gate_up + "_bias"] = at::zeros({8, 48});
       },
       "config.json says that it has no bias"},
      {[&](NamedTensors& t) {
         t[gate_up + "_blocks"] = at::zeros({8, 48, 2, 16}, at::kByte);
       },
       "hold the same weights"},
      {[&](NamedTensors& t) {
         t.erase(gate_up);
         t[gate_up + "_blocks"] = at::zeros({8, 48, 2, 16}, at::kByte);
       },
       "is MXFP4, which is unknown for qwen3_moe"},
  };
  for (const Case& bad : cases) {
    Source spoilt{source.config, fused};
    bad.spoil(spoilt.tensors);
    EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.says)));
  }
  Source more = source;
  more.tensors["model.layers.1.mlp.experts.8.gate_proj.weight"] = at::zeros({24, 64});
  EXPECT_THAT(Problem(more), StatusIs(absl::StatusCode::kInvalidArgument,
                                      AllOf(HasSubstr("experts.8.gate_proj"), HasSubstr("8 experts"))));
}

TEST_F(LayoutsTest, BadFp8IsNamed) {
  const auto [encoded, plain] = MakeFp8Models("mixtral");
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  Source spoilt = encoded;
  spoilt.tensors.erase(name + "_scale_inv");
  EXPECT_THAT(Problem(spoilt),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name + "_scale_inv [2, 3] is missing")));
  spoilt = encoded;
  spoilt.tensors[name + "_scale_inv"] = at::ones({2, 2});
  EXPECT_THAT(Problem(spoilt),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has shape [2, 2], expected [2, 3]")));
  spoilt = encoded;
  spoilt.config.erase("quantization_config");
  EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("F8_E4M3")));
  spoilt = plain;
  spoilt.tensors[name + "_scale_inv"] = at::ones({2, 3});
  EXPECT_THAT(Problem(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not F8_E4M3")));
  spoilt = encoded;
  spoilt.config["quantization_config"].erase("weight_block_size");
  EXPECT_THAT(Problem(spoilt),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("_scale_inv has shape")));
  spoilt = encoded;  // the grid of smaller blocks is no padding
  spoilt.config["quantization_config"]["weight_block_size"] = {32, 48};
  EXPECT_THAT(Problem(spoilt),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("_scale_inv has shape")));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  spoilt = encoded;
  spoilt.tensors[name + "_scale_inv"] = at::full({2, 3}, NAN);
  ASSERT_OK_AND_ASSIGN(const Model broken, Write(spoilt));
  CheckpointWeights weights(broken.spec, broken.checkpoint, at::kFloat);
  for (const Linear& linear : ListLinears(broken.spec)) {
    if (linear.name + ".weight" != name) continue;
    EXPECT_THAT(weights.LinearWeight(linear),
                StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(name), HasSubstr("NaN"))));
  }
}

}  // namespace
}  // namespace quantmoe
