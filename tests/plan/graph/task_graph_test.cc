#include "plan/graph/task_graph.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "nlohmann/json.hpp"
#include "plan/graph/search_rounds.h"
#include "plan/graph/task_kinds.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

ResolvedJob SmallJob(double average_bits = 3) {
  ResolvedJob job;
  job.spec = AverageBitsSpec("optimal", average_bits);
  job.spec.effort = 0;
  job.spec.gptq.group_size = 64;
  job.spec.gptq.widths = {2, 3, 4, 8};
  job.spec.calibration = {DigestOf("calibration"), 16, 256, 8};
  job.spec.evaluation.perplexity_text = DigestOf("perplexity");
  job.spec.evaluation.window = 256;
  job.spec.evaluation.tasks = {{"piqa", DigestOf("piqa"), {}}, {"mmlu", DigestOf("mmlu"), DigestOf("dev")}};
  job.model = ParseOrDie(SmallMoeConfig());
  job.parts = CutParts(job.model);
  job.model_fingerprint = "fingerprint";
  job.model_digest = "digest";
  return job;
}

constexpr PrepareSummary kSummary = {2, 4096, 3, 1000};

// Which outputs the header promises for a task.
bool Promises(const TaskDefinition& task, const std::string& role) {
  const std::string stem = role.substr(0, role.find('.'));
  switch (task.kind) {
    case TaskKind::kPrepare:
      return stem == "hidden" || stem == "requests" || stem == "summary" || absl::EndsWith(role, "_sample");
    case TaskKind::kForward:
      return role == "hidden" || role == "middle" || role == "ffn_input" || role == "routing" ||
             role == "counts" || role == "stream";
    case TaskKind::kSolve:
      return role == "table" || absl::StartsWith(role, "w");
    case TaskKind::kProbe:
      return role == "sensitivity";
    case TaskKind::kPredict:
      return role == "importance";
    case TaskKind::kAllocate:
      return role == "plan" || role == "table" || role == "front" || role == "reference";
    case TaskKind::kRefine:
      return role == "plan" || role == "search" || role == "around" || stem == "stream";
    case TaskKind::kVerdict:
      return role == "plan";
    case TaskKind::kReSolve:
      return role == "plan" || role == "weights";
    case TaskKind::kAssemble:
      return role == "plan";
    case TaskKind::kEvaluate:
      return role == "scores";
    case TaskKind::kPublish:
      return false;
  }
  return false;
}

std::vector<TaskDefinition> WholeGraph(const ResolvedJob& job) {
  std::vector<TaskDefinition> tasks = {PrepareTask(job)};
  for (TaskDefinition& task : TasksAfterPrepare(job, kSummary)) tasks.push_back(std::move(task));
  return tasks;
}

TEST(TaskGraphTest, ProducersComeFirstAndEveryReferenceResolves) {
  std::map<std::string, TaskDefinition> seen;
  for (const TaskDefinition& task : WholeGraph(SmallJob())) {
    std::set<std::string> roles;
    for (const TaskInput& input : task.inputs) {
      EXPECT_TRUE(roles.insert(input.role).second) << task.label << " " << input.role;
      if (input.producer.empty()) {
        EXPECT_TRUE(IsSha256(input.blob.sha256));
        continue;
      }
      ASSERT_EQ(seen.count(input.producer), 1u) << task.label << " needs " << input.producer;
      EXPECT_TRUE(Promises(seen[input.producer], input.producer_role)) << input.producer_role;
    }
    EXPECT_GT(task.memory_bytes, 0) << task.label;
    EXPECT_TRUE(nlohmann::json::accept(task.params_json));
    EXPECT_TRUE(seen.emplace(task.label, task).second) << task.label;
  }
  // 3 layers x 2 shards, the probes' sample, 8 parts, 3 probes, 3 x 3 evaluations, prepare,
  // allocate, verdict, publish.
  EXPECT_EQ(seen.size(), 6 + 3 + SmallJob().parts.size() + 3 + 9 + 4);
}

std::vector<std::string> Roles(const TaskDefinition& task) {
  std::vector<std::string> roles;
  for (const TaskInput& input : task.inputs) {
    roles.push_back(absl::StrCat(input.role, "<-", input.producer, "/", input.producer_role));
  }
  return roles;
}

TEST(TaskGraphTest, InputsAreThoseOfTheContract) {
  std::map<std::string, TaskDefinition> tasks;
  for (const TaskDefinition& task : WholeGraph(SmallJob())) tasks[task.label] = task;
  using testing::ElementsAre;
  EXPECT_THAT(Roles(tasks["forward-l0-s1"]), ElementsAre("hidden<-prepare/hidden.1"));
  EXPECT_THAT(Roles(tasks["forward-l2-s1"]), ElementsAre("hidden<-forward-l1-s1/hidden"));
  EXPECT_THAT(Roles(tasks["solve-l1-p0"]),
              ElementsAre("hidden.0<-forward-l0-s0/hidden", "hidden.1<-forward-l0-s1/hidden"));
  EXPECT_THAT(Roles(tasks["solve-l1-p1"]),
              ElementsAre("ffn_input.0<-forward-l1-s0/ffn_input", "ffn_input.1<-forward-l1-s1/ffn_input"));
  EXPECT_THAT(Roles(tasks["solve-l1-p2"]),
              ElementsAre("ffn_input.0<-forward-l1-s0/ffn_input", "routing.0<-forward-l1-s0/routing",
                          "ffn_input.1<-forward-l1-s1/ffn_input", "routing.1<-forward-l1-s1/routing"));
  EXPECT_THAT(Roles(tasks["evaluate-planned-2"]),
              ElementsAre("requests<-prepare/requests.2", "plan<-verdict/plan"));
  EXPECT_THAT(Roles(tasks["verdict"]),
              ElementsAre("plan<-allocate/plan", "uniform<-allocate/reference",
                          "sample<-prepare/verdict_sample", "summary<-prepare/summary"));
  EXPECT_THAT(Roles(tasks["prepare"]), ElementsAre("calibration_text<-/", "perplexity_text<-/",
                                                   "task.piqa<-/", "task.mmlu<-/", "fewshot.mmlu<-/"));
  EXPECT_THAT(Roles(tasks["allocate"]), testing::Contains("counts.2.1<-forward-l2-s1/counts"));
  EXPECT_THAT(Roles(tasks["allocate"]), testing::Contains("stream.0.1<-forward-l0-s1/stream"));
  EXPECT_THAT(Roles(tasks["allocate"]), testing::Not(testing::Contains(testing::HasSubstr("counts.0."))));
}

// Keys of all tasks, with every output's digest derived from the key of its producer.
std::map<std::string, std::string> Keys(const ResolvedJob& job) {
  std::map<std::string, std::string> keys;
  for (const TaskDefinition& task : WholeGraph(job)) {
    std::vector<BlobRef> inputs;
    for (const TaskInput& input : task.inputs) {
      const Digest digest =
          input.producer.empty() ? input.blob : DigestOf(keys.at(input.producer) + "/" + input.producer_role);
      inputs.push_back({input.role, digest});
    }
    keys[task.label] = TaskKey(task.kind, task.params_json, inputs, "class");
  }
  return keys;
}

std::set<std::string> ChangedKinds(const ResolvedJob& a, const ResolvedJob& b) {
  const std::map<std::string, std::string> first = Keys(a);
  std::set<std::string> changed;
  for (const auto& [label, key] : Keys(b)) {
    const auto found = first.find(label);
    if (found != first.end() && found->second == key) continue;
    changed.insert(absl::StrContains(label, "evaluate-original") ? "evaluate-original"
                                                                 : label.substr(0, label.find('-')));
  }
  return changed;
}

// Labels of tasks whose own parameters differ.
std::set<std::string> ChangedParams(const ResolvedJob& a, const ResolvedJob& b) {
  std::set<std::string> all, changed;
  for (const TaskDefinition& task : WholeGraph(a)) all.insert(task.label + task.params_json);
  for (const TaskDefinition& task : WholeGraph(b)) {
    if (!all.contains(task.label + task.params_json)) changed.insert(task.label);
  }
  return changed;
}

TEST(TaskGraphTest, ASecondBudgetSolvesNothingAgain) {
  EXPECT_THAT(ChangedKinds(SmallJob(3), SmallJob(3)), testing::IsEmpty());
  EXPECT_THAT(ChangedKinds(SmallJob(3), SmallJob(2.5)),
              testing::UnorderedElementsAre("allocate", "verdict", "evaluate", "publish"));
}

ResolvedJob QuantizedJob() {
  ResolvedJob job = SmallJob();
  job.spec.gptq.propagation = Propagation::kQuantized;
  return job;
}

TEST(TaskGraphTest, TheQuantizedPassGoesLayerByLayer) {
  const std::vector<TaskDefinition> tasks = WholeGraph(QuantizedJob());
  std::set<std::string> done;
  for (const TaskDefinition& task : tasks) {
    for (const TaskInput& input : task.inputs) {
      if (input.producer.empty()) continue;
      EXPECT_TRUE(done.contains(input.producer)) << task.label << " <- " << input.producer;
    }
    done.insert(task.label);
  }
  const auto find = [&](const std::string& label) -> const TaskDefinition& {
    return *std::find_if(tasks.begin(), tasks.end(),
                         [&](const TaskDefinition& t) { return t.label == label; });
  };
  EXPECT_THAT(Roles(find("resolve-l1-p0")),
              testing::IsSupersetOf({"plan<-verdict/plan", "hidden.0<-forward-l0-s0/hidden",
                                     "quantized.0<-feed-l0-s0/hidden"}));
  EXPECT_THAT(Roles(find("attend-l1-s0")),
              testing::UnorderedElementsAre("hidden<-feed-l0-s0/hidden", "plan.0<-resolve-l1-p0/plan"));
  // What is measured and published is what the second pass solved.
  EXPECT_THAT(Roles(find("publish")), testing::Contains("plan<-assemble/plan"));
  EXPECT_THAT(Roles(find("evaluate-planned-0")), testing::Contains("plan<-assemble/plan"));
  EXPECT_THAT(ChangedKinds(SmallJob(), QuantizedJob()),
              testing::UnorderedElementsAre("resolve", "attend", "feed", "assemble", "evaluate", "publish"));
}

// Effort for so many rounds.
ResolvedJob SearchedJob(int rounds) {
  ResolvedJob job = SmallJob();
  for (int effort = 1; SearchRounds(job) < rounds; ++effort) job.spec.effort = effort;
  EXPECT_EQ(SearchRounds(job), rounds);
  return job;
}

TEST(TaskGraphTest, ASearchProbesAroundEveryPlanThatItTakes) {
  std::map<std::string, TaskDefinition> tasks;
  for (const TaskDefinition& task : WholeGraph(SearchedJob(2))) {
    for (const TaskInput& input : task.inputs) {
      if (input.producer.empty()) continue;
      ASSERT_TRUE(tasks.contains(input.producer)) << task.label << " <- " << input.producer;
      EXPECT_TRUE(Promises(tasks[input.producer], input.producer_role)) << input.producer_role;
    }
    tasks[task.label] = task;
  }
  EXPECT_THAT(Roles(tasks["refine-0"]),
              testing::ElementsAre("table<-allocate/table", "sample<-prepare/search_sample",
                                   "plan<-allocate/plan", "uniform<-allocate/reference"));
  EXPECT_THAT(Roles(tasks["probe-2-l1"]),
              testing::IsSupersetOf({"plan<-refine-1/around", "hidden<-refine-1/stream.1"}));
  EXPECT_THAT(Roles(tasks["probe-2-l0"]),
              testing::IsSupersetOf({"plan<-refine-1/around", "hidden<-prepare/hidden.2"}));
  EXPECT_THAT(
      Roles(tasks["refine-2"]),
      testing::ElementsAre("table<-allocate/table", "sample<-prepare/search_sample", "plan<-refine-1/plan",
                           "search<-refine-1/search", "sensitivity.0<-probe-2-l0/sensitivity",
                           "sensitivity.1<-probe-2-l1/sensitivity", "sensitivity.2<-probe-2-l2/sensitivity"));
  for (const char* label : {"publish", "evaluate-planned-0"}) {
    EXPECT_THAT(Roles(tasks[label]), testing::Contains("plan<-verdict/plan")) << label;
  }
  EXPECT_THAT(Roles(tasks["verdict"]), testing::Contains("plan<-refine-2/plan"));
  // A job with more effort goes on where another one ended.
  const std::map<std::string, std::string> two = Keys(SearchedJob(2)), three = Keys(SearchedJob(3));
  for (const auto& [label, key] : two) {
    if (label == "verdict" || label == "publish" || absl::StartsWith(label, "evaluate-planned")) continue;
    EXPECT_EQ(three.at(label), key) << label;
  }
  ResolvedJob quantized = SearchedJob(1);
  quantized.spec.gptq.propagation = Propagation::kQuantized;
  for (const TaskDefinition& task : WholeGraph(quantized)) {
    if (task.kind == TaskKind::kReSolve || task.kind == TaskKind::kAssemble) {
      EXPECT_THAT(Roles(task), testing::Contains("plan<-verdict/plan"));
    }
  }
}

TEST(TaskGraphTest, TheEffortSaysHowManyRoundsASearchHas) {
  ResolvedJob job = SmallJob();
  job.spec.effort = 0;
  EXPECT_EQ(SearchRounds(job), 0);
  job.spec.effort = 1;  // less than a round, but asked
  EXPECT_EQ(SearchRounds(job), 1);
  job.spec.effort = kMaxEffort;
  EXPECT_GT(SearchRounds(job), 10);
  job.spec.heuristic = "expert-frequency";
  EXPECT_EQ(SearchRounds(job), 0);
  job.spec.heuristic = "optimal";
  job.spec.gptq.widths = {4};  // nothing can move
  EXPECT_EQ(SearchRounds(job), 0);
  job.spec.gptq.widths = {2, 3, 4, 8};
  job.spec.effort.reset();
  EXPECT_LE(DefaultEffort(job), 150);
  const int few = DefaultEffort(job);
  job.spec.calibration.samples *= 8;
  EXPECT_GT(DefaultEffort(job), few) << "more calibration allows a longer search";
}

// A plan says which linears have scales of one sign, and so has to know.
TEST(TaskGraphTest, TheAllocationKnowsHowScalesWereFitted) {
  ResolvedJob job = SmallJob();
  job.spec.gptq.scales = ScaleRule::kSigned;
  for (const TaskDefinition& task : WholeGraph(job)) {
    if (task.kind != TaskKind::kAllocate) continue;
    EXPECT_THAT(task.params_json, testing::HasSubstr(R"("scales":"signed")"));
  }
}

TEST(TaskGraphTest, EveryPlanIsMeasuredAndThatOfOptimalHasToWin) {
  for (const char* heuristic : {"optimal", "expert-frequency", "uniform"}) {
    ResolvedJob job = SmallJob();
    job.spec.heuristic = heuristic;
    const bool has_to_win = job.spec.heuristic == "optimal";
    for (const bool skip : {false, true}) {
      job.spec.evaluation.skip = skip;
      int verdicts = 0;
      for (const TaskDefinition& task : WholeGraph(job)) {
        if (task.kind == TaskKind::kPublish) {
          EXPECT_THAT(Roles(task),
                      testing::Contains(skip && !has_to_win ? "plan<-allocate/plan" : "plan<-verdict/plan"));
        }
        if (task.kind != TaskKind::kVerdict) continue;
        ++verdicts;
        EXPECT_THAT(task.params_json,
                    testing::HasSubstr(has_to_win ? R"("has_to_win":true)" : R"("has_to_win":false)"));
      }
      EXPECT_EQ(verdicts, has_to_win || !skip ? 1 : 0) << heuristic;
    }
  }
  ResolvedJob stubborn = SmallJob();
  stubborn.spec.publish = PublishChoice::kPlan;
  EXPECT_THAT(ChangedKinds(SmallJob(), stubborn),
              testing::UnorderedElementsAre("verdict", "evaluate", "publish"));
}

TEST(TaskGraphTest, ThePredictorIsTrainedOnlyWhereItIsAskedFor) {
  ResolvedJob job = SmallJob();
  job.spec.heuristic = "block-importance";
  for (const TaskDefinition& task : WholeGraph(job)) EXPECT_NE(task.kind, TaskKind::kPredict);
  job.spec.heuristic_params["estimate"] = "trained";
  std::vector<std::string> labels;
  for (const TaskDefinition& task : WholeGraph(job)) {
    if (task.kind == TaskKind::kPredict) {
      labels.push_back(task.label);
      EXPECT_THAT(task.params_json, testing::HasSubstr(R"("epochs":100)"));
    }
    if (task.kind != TaskKind::kAllocate) continue;
    EXPECT_THAT(Roles(task), testing::Contains("importance.1<-predict-l1/importance"));
  }
  EXPECT_THAT(labels, testing::ElementsAre("predict-l1", "predict-l2"));
}

TEST(TaskGraphTest, EveryKindIsPlannedAsItsRecordSays) {
  ResolvedJob predicted = SmallJob();
  predicted.spec.heuristic = "block-importance";
  predicted.spec.heuristic_params["estimate"] = "trained";
  std::set<TaskKind> planned;
  for (const ResolvedJob& job : {SmallJob(), QuantizedJob(), SearchedJob(1), predicted}) {
    for (const TaskDefinition& task : WholeGraph(job)) {
      planned.insert(task.kind);
      const TaskKindRecord& record = RecordOf(task.kind);
      const bool half = absl::StartsWith(task.label, "attend-") || absl::StartsWith(task.label, "feed-");
      EXPECT_TRUE(absl::StartsWith(task.label, record.name) || half) << task.label;
    }
  }
  for (const TaskKind kind : AllTaskKinds()) EXPECT_TRUE(planned.contains(kind)) << TaskKindName(kind);
}

TEST(TaskGraphTest, EveryParameterReachesTheTasksThatItChanges) {
  ResolvedJob damp = SmallJob();
  damp.spec.gptq.damp = 0.02;
  EXPECT_THAT(ChangedKinds(SmallJob(), damp),
              testing::UnorderedElementsAre("solve", "probe", "allocate", "verdict", "evaluate", "publish"));
  ResolvedJob samples = SmallJob();
  samples.spec.calibration.samples = 8;
  EXPECT_EQ(ChangedKinds(SmallJob(), samples).count("prepare"), 1u);
  EXPECT_EQ(ChangedKinds(SmallJob(), samples).count("forward"), 1u);
  ResolvedJob fallback = SmallJob();
  fallback.spec.gptq.max_fallback_ratio = 0.5;
  EXPECT_EQ(ChangedKinds(SmallJob(), fallback).count("solve"), 0u);
}

// What comes of the tokenizer is an input of the others.
TEST(TaskGraphTest, FilesBesideTheWeightsReachTheTasksThatReadThem) {
  ResolvedJob edited = SmallJob();
  edited.files_fingerprint = "another tokenizer";
  EXPECT_EQ(ChangedParams(SmallJob(), edited), (std::set<std::string>{"prepare", "publish"}));
}

TEST(TaskGraphTest, AMixtureIsMeasuredAgainstUniform) {
  const auto references = [](const ResolvedJob& job) {
    int count = 0;
    for (const TaskDefinition& task : WholeGraph(job))
      count += absl::StrContains(task.label, "evaluate-reference");
    return count;
  };
  EXPECT_EQ(references(SmallJob()), kSummary.evaluation_shards);
  ResolvedJob uniform = SmallJob();
  uniform.spec.heuristic = "uniform";
  EXPECT_EQ(references(uniform), 0);
  EXPECT_EQ(references(QuantizedJob()), 0);
}

TEST(TaskGraphTest, TheSpecOfTheArtifactDoesNotNameThePlaceOfTheModel) {
  const std::vector<TaskDefinition> tasks = TasksAfterPrepare(SmallJob(), kSummary);
  const nlohmann::json params = nlohmann::json::parse(tasks.back().params_json);
  EXPECT_EQ(tasks.back().label, "publish");
  EXPECT_FALSE(params["spec"].contains("model_uri"));
  EXPECT_EQ(params["model_digest"], "digest");
}

TEST(TaskGraphTest, WithoutEvaluationThereAreNoScores) {
  ResolvedJob job = SmallJob();
  job.spec.evaluation.skip = true;
  for (const TaskDefinition& task : WholeGraph(job)) EXPECT_NE(task.kind, TaskKind::kEvaluate);
}

TEST(TaskGraphTest, KeysSeparateRolesDigestsAndClasses) {
  const std::vector<BlobRef> ab = {{"a", DigestOf("1")}, {"b", DigestOf("2")}};
  const std::vector<BlobRef> ba = {{"b", DigestOf("1")}, {"a", DigestOf("2")}};
  std::set<std::string> keys = {
      TaskKey(TaskKind::kSolve, "{}", ab, "x"),   TaskKey(TaskKind::kSolve, "{}", ba, "x"),
      TaskKey(TaskKind::kForward, "{}", ab, "x"), TaskKey(TaskKind::kSolve, "{}", ab, "y"),
      TaskKey(TaskKind::kSolve, "[]", ab, "x"),   TaskKey(TaskKind::kSolve, "{}", {}, "x")};
  EXPECT_EQ(keys.size(), 6u);
}

TEST(TaskGraphTest, NamesAndSummariesRoundTrip) {
  for (int kind = 0; kind <= static_cast<int>(TaskKind::kPublish); ++kind) {
    EXPECT_THAT(ParseTaskKind(TaskKindName(static_cast<TaskKind>(kind))),
                IsOkAndHolds(static_cast<TaskKind>(kind)));
  }
  EXPECT_FALSE(ParseTaskKind("quantize").ok());
  ASSERT_OK_AND_ASSIGN(const PrepareSummary read, PrepareSummaryFromJson(PrepareSummaryToJson(kSummary)));
  EXPECT_EQ(PrepareSummaryToJson(read), PrepareSummaryToJson(kSummary));
  EXPECT_FALSE(PrepareSummaryFromJson("{}").ok());
}

TEST(TaskGraphTest, MemoryDoesNotGrowWithDepthOrExperts) {
  ResolvedJob small = SmallJob();
  ResolvedJob deep = SmallJob();
  deep.model = ParseOrDie(SmallMoeConfig(/*layers=*/12, /*experts=*/64));
  deep.parts = CutParts(deep.model);
  const auto most = [](const ResolvedJob& job) {
    int64_t bytes = 0;
    for (const TaskDefinition& task : WholeGraph(job)) {
      if (task.kind == TaskKind::kSolve || task.kind == TaskKind::kForward)
        bytes = std::max(bytes, task.memory_bytes);
    }
    return bytes;
  };
  EXPECT_LT(most(deep), 3 * most(small));
}

}  // namespace
}  // namespace quantmoe
