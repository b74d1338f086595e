// Speed of Tokenizer::Encode on English prose with the tiny model's tokenizer (the pattern of GPT-2) and with
// the split patterns of Llama 3 and GPT-OSS, in bytes a second of one core.
#include <fstream>
#include <sstream>
#include <string>

#include <benchmark/benchmark.h>

#include "quant/text/tokenizer.h"

namespace quantmoe {
namespace {

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void BM_EncodeProse(benchmark::State& state, const std::string& folder) {
  const auto tokenizer =
      Tokenizer::FromFiles(ReadFile(QUANTMOE_TESTDATA "/" + folder + "/tokenizer.json"), "");
  const std::string text = ReadFile(QUANTMOE_PROSE "/calibration.txt");
  if (!tokenizer.ok() || text.empty()) return state.SkipWithError("no tokenizer or no text");
  for (auto _ : state) benchmark::DoNotOptimize((*tokenizer)->Encode(text, /*add_special_tokens=*/false));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK_CAPTURE(BM_EncodeProse, tiny, std::string("tiny-qwen2-moe"))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeProse, llama3, std::string("tokenizers/llama3"))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeProse, gpt_oss, std::string("tokenizers/gpt_oss"))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeProse, deepseek_v3, std::string("tokenizers/deepseek_v3"))
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_EncodeProse, llama2, std::string("tokenizers/llama2"))->Unit(benchmark::kMillisecond);

// A fresh tokenizer each time: nothing remembered, and what loading costs.
void BM_LoadAndEncodeProse(benchmark::State& state) {
  const std::string file = ReadFile(QUANTMOE_TESTDATA "/tiny-qwen2-moe/tokenizer.json");
  const std::string text = ReadFile(QUANTMOE_PROSE "/calibration.txt");
  for (auto _ : state) {
    const auto tokenizer = Tokenizer::FromFiles(file, "");
    if (!tokenizer.ok()) return state.SkipWithError("no tokenizer");
    benchmark::DoNotOptimize((*tokenizer)->Encode(text, /*add_special_tokens=*/false));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_LoadAndEncodeProse)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantmoe
