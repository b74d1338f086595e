// Probes against the model itself with the same weights: every move, run as a plan.
#include <set>

#include "gmock/gmock.h"

#include "plan/allocate/tail_figures.h"
#include "plan/job/plan_step.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/model/likelihood.h"
#include "tests/quant/tasks/layer_task.h"

namespace quantmoe {
namespace {

constexpr int64_t kWindows = 3, kLength = 16;
constexpr int kLayer = 1, kParts = 3;

class ProbeTaskTest : public LayerTaskTest {
 protected:
  void SetUp() override {
    LayerTaskTest::SetUp();
    for (int part = 0; part < kParts; ++part) {
      ASSERT_OK_AND_ASSIGN(const auto outputs, Run(part, cpu_));
      tables_.push_back(Table(outputs));
      table_inputs_.push_back({absl::StrCat("table.", part), outputs.at("table")});
    }
    ASSERT_OK_AND_ASSIGN(const TaskArguments arguments, TaskArguments::Parse(params_.dump(), {}));
    TaskContext context{*blobs_, models_, [](double, absl::string_view) {}, cancelled_, &cpu_};
    ASSERT_OK_AND_ASSIGN(model_, OpenTaskModel(arguments, context));
    original_ = std::make_unique<CheckpointWeights>(model_.spec, model_.checkpoint, at::kFloat);
    at::Generator generator = at::detail::createCPUGenerator(7);
    hidden_ = at::randn({kWindows * kLength, kHidden}, generator);
    ASSERT_OK_AND_ASSIGN(last_,
                         RunLayers(model_.spec, kLayer, hidden_, {{kWindows, kLength}}, *original_, nullptr));
    inputs_ = table_inputs_;
    Store("hidden", {{"hidden", hidden_.view({kWindows, kLength, kHidden})}});
    Store("last", {{"hidden", last_.view({kWindows, kLength, kHidden})}});
  }

  // The layer at this width, and all else as in the original.
  BitPlan LayerAt(int width) const {
    BitPlan plan;
    plan.group_size = 64;
    for (const PartTable& table : tables_) {
      for (const DistortionRow& row : table.rows)
        plan.linears.push_back({row.linear, width, table.blobs.at(width), 0, row.method, row.fallback});
    }
    return plan;
  }

  std::vector<double> WindowsUnder(const BitPlan& plan) {
    PlannedWeights weights(plan, *original_, *blobs_);
    const at::Tensor end =
        RunLayers(model_.spec, kLayer, hidden_, {{kWindows, kLength}}, weights, nullptr).value();
    const OutputHead head = OutputHead::Load(model_.spec, *original_).value();
    return WindowMeans(CompareRows(head, last_, {end}).front().rows, kLength);
  }

  std::map<std::string, std::vector<double>> Probe() {
    TaskContext context{*blobs_, models_, [](double, absl::string_view) {}, cancelled_, &cpu_};
    const auto outputs = RunTask(TaskKind::kProbe, params_.dump(), inputs_, context);
    EXPECT_OK(outputs);
    const nlohmann::json found = GetJson(*blobs_, outputs->front().digest).value();
    EXPECT_EQ(found["layer"], kLayer);
    return found["divergence"].get<std::map<std::string, std::vector<double>>>();
  }

  void ExpectNear(const std::vector<double>& found, const std::vector<double>& wanted,
                  const std::string& name) {
    ASSERT_EQ(found.size(), static_cast<size_t>(kWindows)) << name;
    for (size_t w = 0; w < found.size(); ++w)
      EXPECT_NEAR(found[w], wanted[w], 1e-3 * wanted[w] + 1e-7) << name;
  }

  // Of one probe group, the widths of another plan.
  BitPlan WithGroup(BitPlan plan, const std::string& group, const BitPlan& other) const {
    std::set<std::string> moved;
    for (const PartTable& table : tables_) {
      for (const DistortionRow& row : table.rows) {
        if (table.ProbeGroup() == group) moved.insert(row.linear.name);
      }
    }
    for (size_t i = 0; i < plan.linears.size(); ++i) {
      if (moved.contains(plan.linears[i].linear.name)) plan.linears[i] = other.linears[i];
    }
    return plan;
  }

  std::vector<PartTable> tables_;
  std::vector<BlobRef> table_inputs_;
  OpenedModel model_;
  std::unique_ptr<CheckpointWeights> original_;
  at::Tensor hidden_, last_;
};

TEST_F(ProbeTaskTest, EveryMoveIsWhatItsPlanMeasures) {
  // Around the original model: each group alone, at the smallest width.
  const auto alone_found = Probe();
  ASSERT_EQ(alone_found.size(), 3u);
  for (const auto& [group, windows] : alone_found) {
    BitPlan alone = WithGroup(LayerAt(4), group, LayerAt(2));
    std::erase_if(alone.linears, [](const PlannedLinear& planned) { return planned.width == 4; });
    ExpectNear(windows, WindowsUnder(alone), group);
  }
  for (const int width : {2, 4}) {
    const BitPlan plan = LayerAt(width), moved = LayerAt(width == 2 ? 4 : 2);
    ASSERT_OK_AND_ASSIGN(const Digest digest, blobs_->Put(BitPlanToJson(plan)));
    inputs_.push_back({"plan", digest});
    const auto found = Probe();
    inputs_.pop_back();
    ASSERT_EQ(found.size(), 3u);
    for (const char* group : {"attention", "experts", "mlp"}) {
      const std::string name = MoveName(group, /*raised=*/width == 2);
      ASSERT_TRUE(found.contains(name)) << name;
      ExpectNear(found.at(name), WindowsUnder(WithGroup(plan, group, moved)), name);
    }
  }
  BitPlan foreign = LayerAt(4);
  foreign.linears.resize(1);
  ASSERT_OK_AND_ASSIGN(const Digest digest, blobs_->Put(BitPlanToJson(foreign)));
  inputs_.push_back({"plan", digest});
  TaskContext context{*blobs_, models_, [](double, absl::string_view) {}, cancelled_, &cpu_};
  EXPECT_THAT(RunTask(TaskKind::kProbe, params_.dump(), inputs_, context),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("the plan has no width for")));
}

}  // namespace
}  // namespace quantmoe
