// Speed of Tokenizer::Encode on English prose, in bytes a second of one core: the tiny model's tokenizer and
// the kinds of testdata/tokenizers. compare_tokenizers.py puts the reference implementation beside it.
#include <fstream>
#include <sstream>
#include <string>

#include <benchmark/benchmark.h>

#include "text/tokenizer.h"

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

const bool kRegistered = [] {
  benchmark::RegisterBenchmark("BM_EncodeProse/tiny", BM_EncodeProse, "tiny-qwen2-moe")
      ->Unit(benchmark::kMillisecond);
  for (const std::string kind :
       {"gpt2", "granite", "llama3", "qwen", "gpt_oss", "kimi_k2", "cl100k", "deepseek_v3", "deepseek_v1",
        "olmoe", "llama2", "phi", "mixtral", "metaspace", "words"}) {
    benchmark::RegisterBenchmark(("BM_EncodeProse/" + kind).c_str(), BM_EncodeProse, "tokenizers/" + kind)
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

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
