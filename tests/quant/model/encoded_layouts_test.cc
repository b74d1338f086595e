// Weights in FP8 and MXFP4, as checkpoints are published: compared with decoders written here from the
// formats' definitions.
#include <cmath>
#include <functional>

#include "gmock/gmock.h"

#include "tests/quant/model/rewritten_model.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

using EncodedLayoutsTest = LayoutsTest;

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

TEST_F(EncodedLayoutsTest, Fp8BlocksAreDecoded) {
  const auto [encoded, plain] = MakeFp8Models("mixtral");
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), "per_expert_fp8");
  ExpectSame(expected, model);
}

// Exponents of two in place of factors, by the name that transformers gives their dtype and as plain bytes.
TEST_F(EncodedLayoutsTest, Fp8FactorsMayBeExponents) {
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

TEST_F(EncodedLayoutsTest, PaddingOfAGridOfFactorsIsLeftOut) {
  auto [encoded, plain] = MakeFp8Models("mixtral");
  for (auto& [name, tensor] : encoded.tensors) {
    if (absl::StrContains(name, "_scale_inv")) tensor = at::constant_pad_nd(tensor, {0, 1, 0, 1}, NAN);
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

TEST_F(EncodedLayoutsTest, WithoutBlocksAFactorIsForTheWholeWeight) {
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
TEST_F(EncodedLayoutsTest, KeptFp8BecomesTheDtypeOfTheModel) {
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

TEST_F(EncodedLayoutsTest, Mxfp4IsDecoded) {
  const auto [encoded, plain] = MakeMxfp4Models();
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  EXPECT_EQ(ExpertStorage(expected.spec, *expected.checkpoint), "fused_transposed");
  EXPECT_EQ(ExpertStorage(model.spec, *model.checkpoint), "fused_mxfp4");
  ExpectSame(expected, model);
}

TEST_F(EncodedLayoutsTest, ExponentsOfMxfp4MayBePaddedAndHaveTheirOwnDtype) {
  auto [encoded, plain] = MakeMxfp4Models();
  for (auto& [name, tensor] : encoded.tensors) {
    if (!absl::StrContains(name, "_proj_scales")) continue;
    tensor = at::constant_pad_nd(tensor, {0, 2, 0, 3}, 255).view(at::kFloat8_e8m0fnu);
  }
  ASSERT_OK_AND_ASSIGN(const Model expected, Write(plain));
  ASSERT_OK_AND_ASSIGN(const Model model, Write(encoded));
  ExpectSame(expected, model);
}

TEST_F(EncodedLayoutsTest, BadMxfp4IsNamed) {
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

TEST_F(EncodedLayoutsTest, BadFp8IsNamed) {
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
