// A Parquet file of a user: rows or an error.
#include "quant/evaluate/data_rows.h"
#include "quant/evaluate/text_file.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (!IsParquet(bytes)) return 0;
  (void)ReadParquetRows(bytes, {"text"}, "fuzz");
  (void)ReadParquetRows(bytes, {"question", "choices.text", "answerKey"}, "fuzz");
  (void)ReadTextFile(bytes, "fuzz", [](const auto& messages, const auto&) {
    return absl::StatusOr<std::string>(messages.dump());
  });
  return 0;
}
