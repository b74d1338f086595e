#include "client/text/report_text.h"

#include "absl/strings/str_cat.h"

#include "tests/client/golden.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kReport[] = R"({
  "job": "jobs/qwen-3bit",
  "spec": {"model_uri": "/models/qwen", "runtime_profile": "gptqmodel",
    "gptq": {"group_size": 128, "widths": [2, 3, 4, 8], "damp": 0.01, "order": "activation", "gate_weighted": false},
    "calibration": {"text": {"sha256": "aa", "size": 9}, "samples": 128, "sequence_length": 2048},
    "evaluation": {"skip": false, "window": 512, "tasks": [{"name": "copa"}, {"name": "piqa"}], "add_bos": null}},
  "model": {"uri": "/models/qwen", "family": "qwen2_moe"},
  "artifact": {"path": "/data/artifacts/qwen-3bit", "files": 9, "bytes": 6442450944},
  "original_bytes": 30064771072,
  "weight_file_bytes": 6442450944,
  "plan": {"heuristic": "optimal", "average_bits": 3.0, "stored_bits": 3.25, "loss": 123.456,
           "lower_bound": 123.4, "histogram": {
    "attention": {"2": 0, "3": 10, "4": 50, "8": 36},
    "expert": {"2": 1500, "3": 2000, "4": 572, "8": 20}}},
  "linears": [
    {"name": "model.layers.0.self_attn.q_proj", "layer": 0, "kind": "attention", "bits": 4, "tokens": 16384,
     "method": "gptq", "fallback": "", "loss": 0.5, "widths": {"4": {"distortion": 0.125, "relative_error": 0.0021}}},
    {"name": "model.layers.0.mlp.experts.7.up_proj", "layer": 0, "kind": "expert", "expert": 7, "bits": 2,
     "tokens": 12, "method": "rtn", "fallback": "too few tokens",
     "widths": {"2": {"distortion": 2.5, "relative_error": 0.31}}}],
  "scores": {
    "original": {"perplexity": {"value": 7.1234, "tokens": 16384, "windows": 8},
      "tasks": {"piqa": {"acc": 0.8, "acc_stderr": 0.009, "acc_norm": 0.81, "acc_norm_stderr": 0.009, "items": 1838}}},
    "planned": {"perplexity": {"value": 7.5, "tokens": 16384, "windows": 8},
      "tasks": {"piqa": {"acc": 0.79, "acc_stderr": 0.0095, "acc_norm": 0.80, "acc_norm_stderr": 0.009, "items": 1838},
                "copa": {"acc": 0.5, "items": 100}}},
    "comparison": {"confidence": 0.95, "scores": [
      {"task": "perplexity", "metric": "value", "difference": 0.3766, "interval": [0.25, 0.5]},
      {"task": "piqa", "metric": "acc", "difference": -0.01, "interval": [-0.022, 0.0017]},
      {"task": "piqa", "metric": "acc_norm", "difference": -0.01, "interval": "odd"}]}},
  "stages": [{"stage": "forward", "tasks": 384, "cached": 0, "task_seconds": 120.5, "wall_seconds": 61.2},
             {"stage": "solve", "tasks": 600, "cached": 30, "task_seconds": 3600, "wall_seconds": 1850}]})";

TEST(ReportTextTest, WholeReport) {
  ExpectGolden("report.txt", RenderReport(kReport, {}).value());
  ExpectGolden("report_linears.txt", RenderReport(kReport, {.linears = true}).value());
}

TEST(ReportTextTest, MissingAndOddPartsAreLeftOut) {
  for (const char* json :
       {"{}", R"({"plan": 3, "scores": [], "linears": {}, "stages": "x"})",
        R"({"plan": {"histogram": {"expert": {"x": "y"}}}, "linears": [1, null], "stages": [2]})",
        R"({"scores": {"planned": {"tasks": [1]}}, "model": "m", "original_bytes": 0})"}) {
    EXPECT_THAT(RenderReport(json, {.linears = true}), IsOk()) << json;
  }
  EXPECT_THAT(RenderReport("{}", {}).value(), Not(HasSubstr("Scores")));
}

TEST(ReportTextTest, SaysWhenTheUniformPlanOfTheVerdictHasFewerBytes) {
  const auto render = [](const char* reference_bytes) {
    return RenderReport(
               absl::StrCat(R"({"weight_file_bytes": 1000, "scores": {"reference": {"weight_file_bytes": )",
                            reference_bytes, R"(}, "verdict": {"text": "The plan beats uniform 2 bits."}}})"),
               {})
        .value();
  };
  EXPECT_THAT(render("800"), HasSubstr("has 20% fewer bytes; in-order is the control of equal bytes"));
  EXPECT_THAT(render("999"), Not(HasSubstr("fewer bytes")));
}

TEST(ReportTextTest, RefusesWhatIsNoReport) {
  EXPECT_THAT(RenderReport("[]", {}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(RenderReport("{", {}), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace quantmoe
