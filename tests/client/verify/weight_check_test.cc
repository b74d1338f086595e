#include "client/verify/weight_check.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

#include "storage/safetensors.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

// One linear "m.q" of 64 inputs and 32 outputs at 3 bits, "m.e" at 4, in groups of 32; the head is kept.
constexpr int64_t kIn = 64, kOut = 32, kGroup = 32;

struct TestTensor {
  TensorInfo info;
  std::string bytes;
};

template <typename T>
TestTensor Make(const std::string& name, DType dtype, std::vector<int64_t> shape,
                const std::function<T(int64_t)>& value) {
  TestTensor tensor{{name, dtype, std::move(shape)}, ""};
  for (int64_t i = 0; i < tensor.info.elements(); ++i) {
    const T element = value(i);
    tensor.bytes.append(reinterpret_cast<const char*>(&element), sizeof(T));
  }
  return tensor;
}

uint32_t ZeroWord(int bits, int64_t column) {
  static const uint32_t kThree[] = {0xDB6DB6DB, 0xB6DB6DB6, 0x6DB6DB6D};
  return bits == 3 ? kThree[column % 3] : 0x77777777;
}

class WeightCheckTest : public ::testing::Test {
 protected:
  WeightCheckTest() {
    AddGptq("m.e", 4);
    AddGptq("m.q", 3);
    Add(Make<uint16_t>("lm_head.weight", DType::kF16, {8, 4}, [](int64_t) { return 0x3c00; }));
    gptq_ = {
        {"bits", 4},
        {"group_size", kGroup},
        {"desc_act", false},
        {"sym", true},
        {"quant_method", "gptq"},
        {"checkpoint_format", "gptq"},
        {"dynamic",
         {{"-:^mtp\\.", Json::object()}, {"+:^m\\.(q|k)$", {{"bits", 3}}}, {"+:^m\\.q$", {{"bits", 8}}}}}};
    plan_ = {{"group_size", kGroup}, {"weight_file_bytes", 0}, {"linears", Json::array()}};
    for (const auto& [name, bits] : std::map<std::string, int>{{"m.e", 4}, {"m.q", 3}}) {
      plan_["linears"].push_back({{"linear", {{"name", name}, {"in", kIn}, {"out", kOut}}}, {"bits", bits}});
    }
  }

  void Add(TestTensor tensor) {
    const std::string name = tensor.info.name;
    tensors_[name] = std::move(tensor);
  }

  void AddGptq(const std::string& name, int bits) {
    const int64_t words = kOut * bits / 32;
    Add(Make<uint32_t>(name + ".qweight", DType::kI32, {kIn * bits / 32, kOut},
                       [](int64_t i) { return 7u * i; }));
    Add(Make<uint32_t>(name + ".qzeros", DType::kI32, {kIn / kGroup, words},
                       [&](int64_t i) { return ZeroWord(bits, i % words); }));
    Add(Make<uint16_t>(name + ".scales", DType::kF16, {kIn / kGroup, kOut}, [](int64_t) { return 0xa000; }));
    Add(Make<int32_t>(name + ".g_idx", DType::kI32, {kIn}, [](int64_t i) { return i / kGroup; }));
  }

  void AddCompressed(const std::string& name, int bits) {
    Add(Make<uint32_t>(name + ".weight_packed", DType::kI32, {kOut, kIn * bits / 32},
                       [](int64_t i) { return i; }));
    Add(Make<uint16_t>(name + ".weight_scale", DType::kF16, {kOut, kIn / kGroup},
                       [](int64_t) { return 0x2000; }));
    Add(Make<int64_t>(name + ".weight_shape", DType::kI64, {2},
                      [](int64_t i) { return i == 0 ? kOut : kIn; }));
  }

  // The first problem as text; empty when there is none.
  std::string Check() {
    std::vector<TensorInfo> infos;
    for (const auto& [name, tensor] : tensors_) infos.push_back(tensor.info);
    const SafetensorsLayout layout = LayOutSafetensors(infos, {});
    std::string file = layout.header;
    for (const TensorInfo& info : layout.tensors) file += tensors_.at(info.name).bytes;
    directory_.Write("model.safetensors", file.substr(0, file.size() - truncated_));
    if (plan_["weight_file_bytes"] == 0) plan_["weight_file_bytes"] = file.size();
    directory_.Write("config.json", Json{{"quantization_config", gptq_}}.dump());
    directory_.Write("quantize_config.json", copy_.is_null() ? gptq_.dump(2) : copy_.dump());
    directory_.Write("quantmoe_plan.json", plan_.dump());
    const std::vector<WeightProblem> problems = CheckWeights(directory_.path());
    if (problems.empty()) return "";
    return absl::StrCat(problems[0].file, "|", problems[0].tensor, "|", problems[0].what);
  }

  TemporaryDirectory directory_;
  std::map<std::string, TestTensor> tensors_;
  Json gptq_, plan_, copy_;
  size_t truncated_ = 0;
};

TEST_F(WeightCheckTest, SoundArtifactsHaveNoProblems) { EXPECT_EQ(Check(), ""); }

TEST_F(WeightCheckTest, NamesTheDamagedTensor) {
  const auto sound = tensors_;
  const std::map<std::string, std::string> damages = {
      {"m.q.qzeros", "not the symmetric zero point at [0, 0]"},
      {"m.q.g_idx", "is not i / group_size at 0"},
      {"m.e.scales", "1 of 64 scales are zero or not finite, the first at [0, 0]"}};
  for (const auto& [name, what] : damages) {
    for (const char* first : {"\0\0", "\xff\x7f", "\x00\xfc"}) {
      if (name != "m.e.scales" && *first == '\0') continue;
      tensors_ = sound;
      tensors_.at(name).bytes.replace(0, 2, first, 2);
      EXPECT_EQ(Check(),
                absl::StrCat("model.safetensors|", name, "|", name == "m.q.qzeros" ? "is " : "", what));
    }
  }
}

TEST_F(WeightCheckTest, SignedScalesLowerZeroPoints) {
  tensors_.at("m.q.qzeros").bytes[0] ^= 0x09;  // the lowest bits of the first two zero points
  EXPECT_THAT(Check(), HasSubstr("m.q.qzeros|is not the symmetric zero point at [0, 0]"));
  plan_["linears"][1]["symmetric"] = false;
  EXPECT_THAT(Check(),
              HasSubstr("m.q|declared with 3 bits in groups of 32, the plan has 3 bits in groups of 32 with "
                        "other zero points"));
  gptq_["dynamic"]["+:^m\\.(q|k)$"]["sym"] = false;
  EXPECT_EQ(Check(), "");
  tensors_.at("m.q.qzeros").bytes[0] ^= 0x02;
  EXPECT_THAT(Check(), HasSubstr("m.q.qzeros|is no zero point of signed scales at [0, 0]"));
}

TEST_F(WeightCheckTest, NamesTensorsThatDoNotFitThePlan) {
  const auto sound = tensors_;
  AddGptq("m.e", 3);
  EXPECT_EQ(Check(), "model.safetensors|m.e.qweight|is I32 [6, 32], the plan needs I32 [8, 32]");
  tensors_ = sound;
  tensors_.erase("m.q.scales");
  plan_["weight_file_bytes"] = 0;
  EXPECT_EQ(Check(), "model.safetensors|m.q.scales|is missing");
  tensors_ = sound;
  AddGptq("m.z", 4);
  plan_["weight_file_bytes"] = 0;
  EXPECT_EQ(Check(), "model.safetensors|m.z.g_idx|belongs to no linear of the plan");
  tensors_ = sound;
  Add(Make<uint16_t>("m.q.weight", DType::kF16, {1}, [](int64_t) { return 0; }));
  plan_["weight_file_bytes"] = 0;
  EXPECT_EQ(Check(), "model.safetensors|m.q.weight|is there although the module is quantized");
}

TEST_F(WeightCheckTest, NamesDocumentsThatDisagree) {
  const Json config = gptq_, plan = plan_;
  gptq_["dynamic"].erase("+:^m\\.(q|k)$");
  EXPECT_EQ(Check(),
            "config.json|m.q|declared with 8 bits in groups of 32, the plan has 3 bits in groups of 32");
  gptq_ = config;
  copy_ = config;
  copy_["bits"] = 8;
  EXPECT_EQ(Check(), "quantize_config.json||differs from quantization_config in config.json");
  copy_ = nullptr;
  plan_["weight_file_bytes"] = 5;
  EXPECT_THAT(Check(), HasSubstr("quantmoe_plan.json||weight_file_bytes is 5"));
  plan_ = plan;
  plan_["linears"][0]["bits"] = 5;
  EXPECT_EQ(Check(), "quantmoe_plan.json||m.e has a bad shape or width");
  plan_.erase("linears");
  EXPECT_THAT(Check(), HasSubstr("quantmoe_plan.json||is no plan"));
  plan_ = plan;
  gptq_["dynamic"] = {{"+:^m\\.(", {{"bits", 8}}}};
  EXPECT_EQ(Check(), "config.json||'^m\\.(' is no regular expression that can be used");
  gptq_["quant_method"] = "awq";
  EXPECT_EQ(Check(), "config.json||quantization_config is neither gptq nor compressed-tensors");
}

TEST_F(WeightCheckTest, NamesTruncatedAndMissingFiles) {
  truncated_ = 10;
  EXPECT_THAT(Check(), HasSubstr("model.safetensors||model.safetensors: tensor"));
  TemporaryDirectory empty;
  std::vector<std::string> files;
  for (const WeightProblem& problem : CheckWeights(empty.path())) files.push_back(problem.file);
  EXPECT_THAT(files, ElementsAre("config.json", "quantmoe_plan.json", "model.safetensors"));
}

TEST_F(WeightCheckTest, ChecksCompressedTensors) {
  tensors_.clear();
  AddCompressed("m.e", 4);
  AddCompressed("m.q", 3);
  const auto group = [](const char* target, int bits) {
    return Json{{"targets", {target}},
                {"weights",
                 {{"num_bits", bits},
                  {"type", "int"},
                  {"symmetric", true},
                  {"strategy", "group"},
                  {"group_size", kGroup}}}};
  };
  gptq_ = {{"quant_method", "compressed-tensors"},
           {"format", "pack-quantized"},
           {"ignore", {"lm_head"}},
           {"config_groups", {{"group_0", group("Linear", 4)}, {"group_1", group("re:^m\\.q$", 3)}}}};
  EXPECT_EQ(Check(), "");
  const auto sound = tensors_;
  tensors_.at("m.q.weight_shape").bytes[0] ^= 1;
  EXPECT_EQ(Check(), "model.safetensors|m.q.weight_shape|is not [32, 64]");
  tensors_ = sound;
  tensors_.at("m.e.weight_scale").bytes.replace(6, 2, "\x00\x7c", 2);
  EXPECT_EQ(Check(),
            "model.safetensors|m.e.weight_scale|1 of 64 scales are zero or not finite, the first at [1, 1]");
  tensors_ = sound;
  gptq_["ignore"].push_back("m.q");
  EXPECT_THAT(Check(), HasSubstr("config.json|m.q|declared with 0 bits"));
}

}  // namespace
}  // namespace quantmoe
