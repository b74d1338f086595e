// Peak memory of a worker's tasks as layers and experts grow: it must follow one part, one shard and one
// Hessian, not the model. Synthetic Mixtral checkpoints; each task runs in a process of its own.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/wait.h>

#include "plan/graph/task_inputs.h"
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "plan/model/model_spec.h"
#include "quant/device/compute_device.h"
#include "quant/tasks/run_task.h"
#include "quant/tensor_bytes.h"
#include "sources/checkpoint.h"
#include "sources/model_sources.h"
#include "sources/model_uri.h"
#include "storage/blob_store.h"

namespace quantmoe {
namespace {

constexpr int64_t kHidden = 512, kWidth = 1024, kSequences = 8, kLength = 512;

// A checkpoint of random bf16 weights; returns its size in bytes.
int64_t WriteModel(const std::string& dir, int layers, int experts) {
  const nlohmann::json config = {{"model_type", "mixtral"},
                                 {"architectures", {"MixtralForCausalLM"}},
                                 {"hidden_size", kHidden},
                                 {"intermediate_size", kWidth},
                                 {"num_hidden_layers", layers},
                                 {"num_local_experts", experts},
                                 {"num_experts_per_tok", 2},
                                 {"num_attention_heads", 8},
                                 {"num_key_value_heads", 8},
                                 {"vocab_size", 512},
                                 {"max_position_embeddings", 2048},
                                 {"rms_norm_eps", 1e-5},
                                 {"rope_theta", 1e6},
                                 {"hidden_act", "silu"}};
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/config.json") << config.dump();
  const ModelSpec spec = ParseModelConfig(config.dump()).value();
  NamedTensors tensors;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    if (!name.empty()) tensors[name] = (at::randn(shape) * 0.02).to(at::kBFloat16);
  };
  add(TensorNames::Embedding(spec), {512, kHidden});
  add(TensorNames::Head(spec), {512, kHidden});
  add(TensorNames::FinalNorm(spec), {kHidden});
  for (int l = 0; l < layers; ++l) {
    add(TensorNames::InputNorm(spec, l), {kHidden});
    add(TensorNames::PostAttentionNorm(spec, l), {kHidden});
    add(TensorNames::Router(spec, l), {experts, kHidden});
  }
  for (const Linear& linear : ListLinears(spec)) add(linear.name + ".weight", {linear.out, linear.in});
  if (!WriteTensorFile(dir + "/model.safetensors", tensors).ok()) std::exit(1);
  return static_cast<int64_t>(std::filesystem::file_size(dir + "/model.safetensors"));
}

// Runs `work` in a child and gives its peak resident memory in MB.
double PeakOf(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  if (status != 0) std::exit(1);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

std::vector<BlobRef> Run(TaskKind kind, const nlohmann::json& params, const std::vector<BlobRef>& inputs,
                         BlobStore& blobs) {
  static const std::atomic<bool> never{false};
  SetComputeThreads(2);
  static const ComputeDevice cpu{};
  TaskContext context{blobs, ModelSources{.confined = false}, [](double, absl::string_view) {}, never, &cpu};
  auto outputs = RunTask(kind, params.dump(), inputs, context);
  if (!outputs.ok()) {
    std::fprintf(stderr, "%s\n", outputs.status().ToString().c_str());
    _exit(1);
  }
  return *std::move(outputs);
}

void Measure(const std::string& root, int layers, int experts) {
  const std::string dir = root + "/model-" + std::to_string(layers) + "-" + std::to_string(experts);
  int64_t model_bytes = 0;
  PeakOf([&] { WriteModel(dir, layers, experts); });
  model_bytes = static_cast<int64_t>(std::filesystem::file_size(dir + "/model.safetensors"));
  nlohmann::json params;
  double forward = 0, solve = 0;
  const std::string store = dir + "/blobs";
  const std::string digests = dir + "/digests.json";
  forward = PeakOf([&] {
    auto blobs = LocalBlobStore::Open(store).value();
    std::shared_ptr<ModelDirectory> files = OpenModelDirectory({ModelUri::Scheme::kFile, dir}).value();
    const nlohmann::json forward_params = {{"model_uri", dir},
                                           {"fingerprint", Checkpoint::Open(files).value()->fingerprint()},
                                           {"layer", layers - 1}};
    const Digest hidden = PutTensors(*blobs, {{"hidden", at::randn({kSequences, kLength, kHidden})}}).value();
    nlohmann::json refs;
    for (const BlobRef& output : Run(TaskKind::kForward, forward_params, {{"hidden", hidden}}, *blobs)) {
      refs[output.role] = {output.digest.sha256, output.digest.size_bytes};
    }
    refs["params"] = forward_params;
    std::ofstream(digests) << refs.dump();
  });
  solve = PeakOf([&] {
    auto blobs = LocalBlobStore::Open(store).value();
    nlohmann::json refs = nlohmann::json::parse(std::ifstream(digests));
    ResolvedJob job;
    job.spec.gptq.group_size = 128;
    job.spec.gptq.widths = {2, 3, 4, 8};
    const Part part{.layer = layers - 1, .index = 1, .linears = {}};
    nlohmann::json solve_params = SolveParams(job, {.part = &part});
    solve_params.update(refs["params"]);
    const auto ref = [&](const char* role) { return Digest{refs[role][0], refs[role][1]}; };
    Run(TaskKind::kSolve, solve_params, {{"ffn_input.0", ref("ffn_input")}, {"routing.0", ref("routing")}},
        *blobs);
  });
  std::printf("%3d layers x %3d experts  model %6.0f MB   forward %5.0f MB   solve of one part %5.0f MB\n",
              layers, experts, static_cast<double>(model_bytes) / 1e6, forward, solve);
  std::fflush(stdout);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace quantmoe

int main() {
  std::string root = (std::filesystem::temp_directory_path() / "quantmoe-memory-XXXXXX").string();
  if (mkdtemp(root.data()) == nullptr) return 1;
  std::printf("peak resident memory; mapped pages of the model count while they are in use\n");
  for (const auto& [layers, experts] : {std::pair{2, 16}, {8, 16}, {32, 16}, {2, 64}, {2, 128}}) {
    quantmoe::Measure(root, layers, experts);
  }
  std::filesystem::remove_all(root);
  return 0;
}
