// From a model's URI to the first task of a job, for a model with 60,000 tensors in 64 files: headers and
// index are real, the weights are holes. The project's goal is 2 seconds.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "plan/graph/task_graph.h"
#include "plan/job/job_spec.h"
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "storage/safetensors.h"

namespace quantmoe {
namespace {

constexpr int kFiles = 64;
constexpr int kRounds = 3;
constexpr char kConfig[] = R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
  "vocab_size": 1024, "hidden_size": 128, "num_hidden_layers": 50, "num_attention_heads": 2,
  "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 128, "moe_intermediate_size": 128,
  "num_experts": 397, "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1,
  "mlp_only_layers": [], "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
  "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false, "torch_dtype": "bfloat16"})";

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "uri_bench: %s\n", std::string(result.status().message()).c_str());
  std::exit(1);
}

std::vector<TensorInfo> Tensors(const ModelSpec& spec) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.push_back({name, DType::kBF16, std::move(shape), 0, 0});
  };
  add("model.embed_tokens.weight", {spec.vocab, spec.hidden});
  add("model.norm.weight", {spec.hidden});
  add("lm_head.weight", {spec.vocab, spec.hidden});
  for (int l = 0; l < spec.num_layers(); ++l) {
    const std::string prefix = absl::StrCat("model.layers.", l, ".");
    add(prefix + "input_layernorm.weight", {spec.hidden});
    add(prefix + "post_attention_layernorm.weight", {spec.hidden});
    add(prefix + "self_attn.q_norm.weight", {spec.attention.head_dim});
    add(prefix + "self_attn.k_norm.weight", {spec.attention.head_dim});
    add(prefix + "mlp.gate.weight", {spec.moe.experts, spec.hidden});
  }
  for (const Linear& linear : ListLinears(spec)) add(linear.name + ".weight", {linear.out, linear.in});
  return tensors;
}

void WriteModel(const std::string& dir, const std::vector<TensorInfo>& tensors) {
  std::ofstream(dir + "/config.json") << kConfig;
  nlohmann::json index = {{"metadata", nlohmann::json::object()}, {"weight_map", nlohmann::json::object()}};
  for (size_t file = 0; file < kFiles; ++file) {
    const auto begin = tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() * file / kFiles);
    const auto end = tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() * (file + 1) / kFiles);
    const std::string name = absl::StrCat("model-", file + 1, "-of-", kFiles, ".safetensors");
    for (auto tensor = begin; tensor != end; ++tensor) index["weight_map"][tensor->name] = name;
    const SafetensorsLayout layout = LayOutSafetensors({begin, end}, {{"format", "pt"}});
    std::ofstream(dir + "/" + name) << layout.header;
    std::filesystem::resize_file(dir + "/" + name, static_cast<uintmax_t>(layout.file_size()));
  }
  std::ofstream(dir + "/model.safetensors.index.json") << index.dump();
}

JobSpec Spec(const std::string& dir) {
  JobSpec spec;
  spec.model_uri = dir;
  spec.budget.average_bits = 3;
  spec.heuristic = "optimal";
  return spec;
}

void Run(const std::string& dir) {
  const std::vector<TensorInfo> tensors = Tensors(Value(ParseModelConfig(kConfig)));
  WriteModel(dir, tensors);
  const ModelSources models{.roots = {dir}};
  double headers = 1e9, job_seconds = 1e9, rest = 1e9;
  size_t tasks = 0;
  for (int round = 0; round < kRounds; ++round) {
    headers = std::min(headers, Seconds([&] {
                         std::shared_ptr<ModelDirectory> directory = Value(OpenModel(dir, models));
                         Value(Checkpoint::Open(directory));
                       }));
    ResolvedJob job;
    TaskDefinition first;
    job_seconds = std::min(job_seconds, Seconds([&] {
                             job = Value(OpenJob(Spec(dir), models));
                             first = PrepareTask(job);
                           }));
    rest = std::min(rest, Seconds([&] { tasks = TasksAfterPrepare(job, {16, 262144, 1, 1000}).size(); }));
  }
  std::printf("%zu tensors in %d files, best of %d\n", tensors.size(), kFiles, kRounds);
  std::printf("index and headers read and checked    %6.2f s\n", headers);
  std::printf("URI to first task, that included      %6.2f s  (goal: 2 s)\n", job_seconds);
  std::printf("the other %6zu tasks planned         %6.2f s\n", tasks, rest);
}

}  // namespace
}  // namespace quantmoe

int main() {
  std::string dir = (std::filesystem::temp_directory_path() / "quantmoe-bench-XXXXXX").string();
  if (mkdtemp(dir.data()) == nullptr) return 1;
  quantmoe::Run(std::filesystem::canonical(dir));
  std::filesystem::remove_all(dir);
  return 0;
}
