#include "cli/comparison.h"

#include "absl/strings/str_replace.h"

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;

constexpr char kReport[] = R"({
  "original_bytes": 30064771072, "weight_file_bytes": 6442450944,
  "plan": {"heuristic": "optimal", "average_bits": 2.9986, "loss": 123.456, "objective": "measured"},
  "linears": [{"name": "a", "bits": 3}, {"name": "b", "bits": 3}],
  "scores": SCORES})";
// docs/formats.md, section 4.
constexpr char kPlan[] = R"({"heuristic": "optimal", "average_bits": 2.9986, "distortion": 123.456,
  "objective": "measured", "weight_file_bytes": 6442450944,
  "linears": [{"linear": {"name": "a"}, "bits": 3}, {"linear": {"name": "b"}, "bits": 3}]})";
constexpr char kScores[] = R"({
  "comparison": {"scores": [
    {"task": "perplexity", "metric": "value", "before": 7.1234, "after": 7.5, "interval": [0.25, 0.5]},
    {"task": "piqa", "metric": "acc", "before": 0.8, "after": 0.79, "interval": [-0.022, 0.0017]}]},
  "reference": {"bits": 3, "weight_file_bytes": 6442450000, "comparison": {"scores": [
    {"task": "perplexity", "metric": "value", "before": 7.75, "after": 7.5, "interval": [-0.4, -0.1]}]}},
  "verdict": {"recommends": "plan", "text": "The plan beats uniform 3 bits."}})";

std::string Report(const std::string& scores) { return absl::StrReplaceAll(kReport, {{"SCORES", scores}}); }

ComparedJob Read(const std::string& report, Comparison& comparison) {
  ComparedJob job;
  EXPECT_THAT(ReadReport("jobs/a", report, job, comparison), IsOk());
  return job;
}

void ExpectSame(const ComparedJob& a, const ComparedJob& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.average_bits, b.average_bits);
  EXPECT_EQ(a.weight_file_bytes, b.weight_file_bytes);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.objective, b.objective);
  EXPECT_EQ(a.widths, b.widths);
  EXPECT_EQ(a.verdict, b.verdict);
  EXPECT_EQ(a.uniform_bits, b.uniform_bits);
  EXPECT_EQ(a.uniform_bytes, b.uniform_bytes);
  EXPECT_EQ(a.benchmarks.size(), b.benchmarks.size());
  ASSERT_EQ(a.perplexity.has_value(), b.perplexity.has_value());
  if (a.perplexity) {
    EXPECT_EQ(a.perplexity->after, b.perplexity->after);
  }
  ASSERT_EQ(a.against_uniform.has_value(), b.against_uniform.has_value());
  if (a.against_uniform) {
    EXPECT_EQ(a.against_uniform->high, b.against_uniform->high);
  }
}

TEST(ComparisonTest, AnArtifactHasTheFiguresOfItsReport) {
  Comparison comparison;
  const ComparedJob reported = Read(Report(kScores), comparison);
  EXPECT_EQ(reported.width, 3);
  EXPECT_EQ(reported.loss, 123.456);
  EXPECT_EQ(reported.verdict, "plan");
  EXPECT_EQ(reported.against_uniform->before, 7.75);
  ComparedJob published;
  EXPECT_THAT(ReadArtifactFigures(kPlan, kScores, published), IsOk());
  ExpectSame(published, reported);

  ComparedJob unmeasured;
  EXPECT_THAT(ReadArtifactFigures(kPlan, "", unmeasured), IsOk());
  ExpectSame(unmeasured, Read(Report("{}"), comparison));
  EXPECT_FALSE(unmeasured.perplexity.has_value());
}

TEST(ComparisonTest, LossesOfAllPlansAreOnTheScaleOfTheOptimalOne) {
  constexpr char kScale[] = R"({"original_bytes": 9, "weight_file_bytes": 3, "scores": {},
    "plan": {"heuristic": "optimal", "average_bits": 3, "loss": 0.3, "objective": "measured"},
    "linears": [{"name": "a", "bits": 4, "widths": {"2": {"loss": 0.5}, "4": {"loss": 0.1}}},
                {"name": "b", "bits": 2, "widths": {"2": {"loss": 0.2}, "4": {"loss": 0.1}}}]})";
  constexpr char kOther[] = R"({"original_bytes": 9, "weight_file_bytes": 3, "scores": {},
    "plan": {"heuristic": "uniform", "average_bits": 2, "loss": 2540, "objective": "measured"},
    "linears": [{"name": "a", "bits": 2, "widths": {"2": {"loss": 2000}}}, {"name": "b", "bits": 2}]})";
  Comparison comparison;
  comparison.jobs = {Read(kOther, comparison)};
  AlignLosses(comparison);
  EXPECT_EQ(comparison.jobs[0].loss, 2540);  // there is no scale yet
  comparison.jobs.push_back(Read(kScale, comparison));
  comparison.jobs.push_back(Read(absl::StrReplaceAll(Report(kScores), {{"\"linears\"", "\"others\""}}),
                                 comparison));  // without linears
  AlignLosses(comparison);
  EXPECT_DOUBLE_EQ(comparison.jobs[0].loss, 0.7);
  EXPECT_DOUBLE_EQ(comparison.jobs[1].loss, 0.3);
  EXPECT_DOUBLE_EQ(comparison.jobs[2].loss, 123.456);
}

TEST(ComparisonTest, RefusesWhatIsNoReport) {
  ComparedJob job;
  Comparison comparison;
  for (const char* text : {"", "[]", "{\"plan\": 1}", R"({"plan": {"average_bits": "x"}})"}) {
    EXPECT_THAT(ReadReport("jobs/a", text, job, comparison), StatusIs(absl::StatusCode::kDataLoss)) << text;
  }
  for (const char* text : {"{", "[]", R"({"average_bits": 3})"}) {
    EXPECT_THAT(ReadArtifactFigures(text, "", job), StatusIs(absl::StatusCode::kDataLoss)) << text;
    EXPECT_THAT(ReadArtifactFigures(kPlan, R"({"reference": 1})", job),
                StatusIs(absl::StatusCode::kDataLoss));
  }
}

std::vector<bool> BestOf(std::vector<ComparedJob> jobs) {
  Comparison comparison{
      .model = "m", .original_bytes = 0, .jobs = std::move(jobs), .losses = {}, .objective = ""};
  MarkBest(comparison);
  std::vector<bool> best;
  for (const ComparedJob& job : comparison.jobs) best.push_back(job.best);
  return best;
}

ComparedJob Plan(const char* budget, std::optional<double> perplexity, double loss,
                 const char* objective = "block") {
  ComparedJob job;
  job.budget = budget;
  job.loss = loss;
  job.objective = objective;
  if (perplexity) job.perplexity = MeasuredChange{"perplexity", "value", 1, *perplexity, 0, 0};
  return job;
}

TEST(ComparisonTest, BestIsOfItsBudget) {
  EXPECT_THAT(BestOf({Plan("3", 7, 1), Plan("3", 6, 2), Plan("2", 9, 1), Plan("2", 9, 3), Plan("4", 5, 1)}),
              ElementsAre(false, true, true, true, false));
  EXPECT_THAT(BestOf({Plan("3", std::nullopt, 1), Plan("3", std::nullopt, 2)}), ElementsAre(true, false));
  EXPECT_THAT(BestOf({Plan("3", std::nullopt, 1), Plan("3", std::nullopt, 2, "gate")}),
              ElementsAre(false, false))
      << "losses of two objectives";
  ComparedJob failed = Plan("3", std::nullopt, 0);
  failed.failure = "no";
  EXPECT_THAT(BestOf({failed, Plan("3", 9, 1)}), ElementsAre(false, true));
}

}  // namespace
}  // namespace quantmoe
