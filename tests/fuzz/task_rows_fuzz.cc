// JSON lines of benchmarks: items or an error, for every benchmark.
#include "quant/evaluate/data_rows.h"
#include "quant/evaluate/datasets.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (IsParquet(bytes)) return 0;  // has a target of its own
  for (const char* name : {"mmlu", "arc_easy", "hellaswag", "piqa", "winogrande", "boolq", "openbookqa",
                           "copa", "lambada_openai", "wikitext"}) {
    const absl::StatusOr<Benchmark> benchmark = ParseBenchmark(name);
    Require(benchmark.ok(), "the benchmark is known");
    (void)ReadItems(*benchmark, bytes, "fuzz");
  }
  return 0;
}
