// A golden model whose tensors a test rewrites, and what it must still be after that.
#pragma once

#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include "absl/strings/str_cat.h"
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

struct Source {
  nlohmann::json config;
  NamedTensors tensors;
};

inline Source ReadGolden(const std::string& family) {
  const auto directory = std::filesystem::canonical(std::string(QUANTMOE_TESTDATA)) / "goldens" / family;
  auto tensors = ReadTensorFile((directory / "model.safetensors").string());
  if (!tensors.ok()) throw std::runtime_error(tensors.status().ToString());
  return {nlohmann::json::parse(ReadTestFile(directory / "config.json")), *std::move(tensors)};
}

struct Model {
  ModelSpec spec;
  std::shared_ptr<Checkpoint> checkpoint;
};

class LayoutsTest : public ::testing::Test {
 protected:
  std::filesystem::path WriteConfig(const nlohmann::json& config) {
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

inline at::Tensor Logits(const Model& model) {
  CheckpointWeights weights(model.spec, model.checkpoint, at::kFloat);
  const at::Tensor ids = at::arange(40).remainder(model.spec.vocab);
  const auto hidden = RunModel(model.spec, ids, {{2, 20}}, weights, nullptr);
  if (!hidden.ok()) throw std::runtime_error(hidden.status().ToString());
  const auto head = OutputHead::Load(model.spec, weights);
  if (!head.ok()) throw std::runtime_error(head.status().ToString());
  return head->Logits(*hidden);
}

// Every weight and bias, what an artifact keeps, and the logits are the same to the bit.
inline void ExpectSame(const Model& expected, const Model& actual) {
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

}  // namespace quantmoe
