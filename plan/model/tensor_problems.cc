#include "plan/model/tensor_problems.h"

#include <array>
#include <cstdint>

#include "absl/container/flat_hash_set.h"

#include "plan/model/linears.h"
#include "plan/model/tensor_views.h"
#include "plan/model/tied_head.h"

namespace quantmoe {
namespace {

// Shapes of the norms of queries and of keys, see TensorNames::QueryNorm.
std::array<int64_t, 2> QkNormWidths(const AttentionSpec& a) {
  if (a.mla) return {a.q_lora, a.kv_lora};
  if (a.qk_norm == QkNorm::kPerHead || a.qk_norm == QkNorm::kPerHeadAfterRope) {
    return {a.head_dim, a.head_dim};
  }
  return {a.heads * a.head_dim, a.kv_heads * a.head_dim};
}

// ERNIE keeps a row of correction biases, the others a vector.
std::vector<int64_t> CorrectionBiasShape(const MoeSpec& moe) {
  if (moe.router == RouterKind::kBiasedSoftmax) return {1, moe.experts};
  return {moe.experts};
}

struct NamedShape {
  std::string name;  // empty: the family has none
  std::vector<int64_t> shape;
};

// LayerNorm has a bias beside its weight, as the head of some models has.
void AppendBiases(const ModelSpec& spec, std::vector<NamedShape>& all) {
  const auto add = [&all](const std::string& weight, int64_t size) {
    all.push_back({BiasOf(weight), {size}});
  };
  all.push_back({TensorNames::HeadBias(spec), {spec.vocab}});
  if (spec.norm != NormKind::kLayerNorm) return;
  add(TensorNames::FinalNorm(spec), spec.hidden);
  for (int l = 0; l < spec.num_layers(); ++l) {
    add(TensorNames::InputNorm(spec, l), spec.hidden);
    add(TensorNames::PostAttentionNorm(spec, l), spec.hidden);
  }
}

std::vector<NamedShape> KeptShapes(const ModelSpec& spec) {
  std::vector<NamedShape> all = {{TensorNames::Embedding(spec), {spec.vocab, spec.hidden}},
                                 {TensorNames::FinalNorm(spec), {spec.hidden}},
                                 {TensorNames::Head(spec), {spec.vocab, spec.hidden}}};
  for (int l = 0; l < spec.num_layers(); ++l) {
    const std::array<int64_t, 2> qk_norm = QkNormWidths(spec.attention);
    all.push_back({TensorNames::InputNorm(spec, l), {spec.hidden}});
    all.push_back({TensorNames::PostAttentionNorm(spec, l), {spec.hidden}});
    all.push_back({TensorNames::QueryNorm(spec, l), {qk_norm[0]}});
    all.push_back({TensorNames::KeyNorm(spec, l), {qk_norm[1]}});
    all.push_back({TensorNames::Router(spec, l), {spec.moe.experts, spec.hidden}});
    all.push_back({TensorNames::CorrectionBias(spec, l), CorrectionBiasShape(spec.moe)});
    all.push_back({TensorNames::SharedGate(spec, l), {1, spec.hidden}});
    all.push_back({TensorNames::RouterBias(spec, l), {spec.moe.experts}});
    all.push_back({TensorNames::Sinks(spec, l), {spec.attention.heads}});
  }
  AppendBiases(spec, all);
  return all;
}

}  // namespace

std::vector<std::string> ListOtherTensors(const ModelSpec& spec) {
  std::vector<std::string> names;
  for (NamedShape& tensor : KeptShapes(spec)) {
    if (!tensor.name.empty()) names.push_back(std::move(tensor.name));
  }
  return names;
}

absl::Status CheckTensors(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems = FindTensorProblems(spec, checkpoint);
  return problems.empty() ? absl::OkStatus() : std::move(problems.front());
}

std::vector<absl::Status> FindOtherTensorProblems(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems;
  const auto add = [&](absl::Status status) {
    if (!status.ok()) problems.push_back(std::move(status));
  };
  for (const NamedShape& tensor : KeptShapes(spec)) {
    if (!tensor.name.empty()) add(CheckOther(checkpoint, tensor.name, tensor.shape));
  }
  add(CheckTiedHead(spec, checkpoint));
  return problems;
}

std::vector<absl::Status> FindTensorProblems(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems;
  absl::flat_hash_set<std::string> seen;  // linears may share a tensor
  const auto add = [&](absl::Status status) {
    if (!status.ok() && seen.insert(std::string(status.message())).second)
      problems.push_back(std::move(status));
  };
  for (absl::Status& status : FindOtherTensorProblems(spec, checkpoint)) add(std::move(status));
  for (const Linear& linear : ListLinears(spec)) add(CheckLinear(spec, checkpoint, linear));
  for (int l = 0; l < spec.num_layers(); ++l) {
    if (spec.layers[l].moe) add(CheckExperts(spec, checkpoint, l));
  }
  return problems;
}

}  // namespace quantmoe
