#include "client/text/resource_text.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include <google/rpc/status.pb.h>

#include "base/byte_size.h"
#include "client/text/format.h"
#include "proto/job_spec_proto.h"
#include "proto/spec_text.h"

namespace quantmoe {
namespace {

// "name   value" lines with aligned values; empty values are left out.
class Facts {
 public:
  void Add(absl::string_view name, Cell value) {
    if (!value.text.empty()) table_.AddRow({std::string(name), std::move(value)});
  }
  std::string Render(const Palette& palette = {}) const { return table_.Render(0, palette); }

 private:
  TextTable table_{{{"", Align::kLeft}, {"", Align::kLeft}}};
};

std::string Time(const google::protobuf::Timestamp& timestamp) { return FormatTimestamp(ToTime(timestamp)); }

std::string ErrorText(const google::rpc::Status& error) {
  if (error.code() == 0) return "";
  const std::string code = absl::StatusCodeToString(static_cast<absl::StatusCode>(error.code()));
  return error.message().empty() ? code : absl::StrCat(code, ": ", error.message());
}

std::string ProgressText(const v1::Job& job) {
  int64_t done = 0, total = 0;
  for (const auto& stage : job.progress().stages()) {
    done += stage.tasks_done();
    total += stage.tasks_total();
  }
  return total == 0 ? "" : absl::StrFormat("%d%%", 100 * done / total);
}

// The id alone: every command takes it.
std::string ShortName(absl::string_view name) { return std::string(name.substr(name.rfind('/') + 1)); }

// "owner/name@revision" of a model of the Hub, the last folder of any other.
std::string ModelLabel(absl::string_view uri) {
  if (absl::ConsumePrefix(&uri, "hf://")) return std::string(uri);
  while (absl::ConsumeSuffix(&uri, "/")) {
  }
  return ShortName(uri);
}

std::string RuleText(const v1::WidthRule& rule) {
  if (rule.protect()) return absl::StrCat(rule.pattern(), " protected");
  if (rule.min_bits() == rule.max_bits()) return absl::StrCat(rule.pattern(), " at ", rule.min_bits());
  const std::string floor = rule.min_bits() > 0 ? absl::StrCat(" from ", rule.min_bits()) : "";
  const std::string ceiling = rule.max_bits() > 0 ? absl::StrCat(" up to ", rule.max_bits()) : "";
  return absl::StrCat(rule.pattern(), floor, ceiling);
}

template <typename T>
std::string ValueText(const T& value) {
  if constexpr (NamedChoice<T>) {
    return std::string(ChoiceName(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return absl::StrCat(value);
  } else {
    return absl::StrJoin(value, ",");
  }
}

std::map<std::string, std::string> GptqValues(const GptqSpec& gptq) {
  std::map<std::string, std::string> values;
  auto visit = [&values](const OptionInfo& option, const auto& value) {
    values[option.name] = ValueText(value);
  };
  VisitOptions(gptq, visit);
  return values;
}

// What everybody wants to know, then what is not at its default.
std::string GptqText(const GptqSpec& gptq) {
  constexpr absl::string_view kAlwaysTold[] = {"widths", "damp", "order", "scales", "propagation"};
  const std::map<std::string, std::string> defaults = GptqValues(GptqSpec{});
  std::string text = absl::StrCat("groups of ", gptq.group_size);
  auto visit = [&](const OptionInfo& option, const auto& value) {
    const bool told =
        std::find(std::begin(kAlwaysTold), std::end(kAlwaysTold), option.name) != std::end(kAlwaysTold);
    if (absl::string_view(option.name) == "group_size" ||
        (!told && ValueText(value) == defaults.at(option.name)))
      return;
    const bool is_switch = std::same_as<std::remove_cvref_t<decltype(value)>, bool>;
    absl::StrAppend(&text, ", ", absl::StrReplaceAll(option.name, {{"_", is_switch ? "-" : " "}}));
    if (!is_switch) absl::StrAppend(&text, " ", ValueText(value));
  };
  VisitOptions(gptq, visit);
  return text;
}

std::string TextSource(const v1::Digest& digest, absl::string_view uri) {
  if (!uri.empty()) return std::string(uri);
  return absl::StrCat("text ", digest.sha256().substr(0, 12), " (", FormatByteSize(digest.size_bytes()), ")");
}

std::string CalibrationText(const v1::Calibration& calibration, absl::string_view uri) {
  const std::string starts =
      calibration.starts() > 0 ? absl::StrCat(" and ", calibration.starts(), " starts") : "";
  return absl::StrCat(calibration.samples(), " sequences of ", calibration.sequence_length(), " tokens",
                      starts, " of ", TextSource(calibration.text(), uri), ", shards of ",
                      calibration.shard_sequences(),
                      calibration.states() == v1::Calibration::BF16 ? ", states in bf16" : "");
}

std::string EvaluationText(const v1::Evaluation& evaluation, absl::string_view uri) {
  if (evaluation.skip()) return "none";
  std::string text = absl::StrCat("windows of ", evaluation.window(), " tokens of ",
                                  TextSource(evaluation.perplexity_text(), uri));
  for (const v1::BenchmarkTask& task : evaluation.tasks()) {
    absl::StrAppend(&text, ", ", task.name());
    if (task.limit() > 0) absl::StrAppend(&text, " (first ", task.limit(), ")");
  }
  if (evaluation.has_add_bos()) absl::StrAppend(&text, evaluation.add_bos() ? ", with BOS" : ", without BOS");
  return text;
}

// `resolved` has every default filled in; it is empty where a list was asked.
void AddSpecFacts(const v1::JobSpec& spec, const v1::JobSpec& resolved, Facts& facts) {
  facts.Add("model", spec.model().uri());
  const v1::BitBudget& budget = spec.has_budget() ? spec.budget() : resolved.budget();
  facts.Add("budget", BudgetText(budget));
  facts.Add("heuristic", HeuristicText(spec.heuristic()));
  if (!resolved.has_model()) return facts.Add("profile", spec.runtime_profile());
  facts.Add("profile", resolved.runtime_profile());
  for (const v1::WidthRule& rule : resolved.rules()) facts.Add("rule", RuleText(rule));
  std::vector<FieldViolation> unknown;  // by a client that is older than the server
  facts.Add("quantization", GptqText(JobSpecFromProto(resolved, unknown).gptq));
  facts.Add("calibration", CalibrationText(resolved.calibration(), spec.calibration().text_uri()));
  facts.Add("evaluation", EvaluationText(resolved.evaluation(), spec.evaluation().perplexity_text_uri()));
  if (resolved.has_effort()) facts.Add("effort", absl::StrCat(resolved.effort(), " passes"));
}

std::string TaskOutcome(const v1::TaskChanged& task) {
  std::string name = v1::TaskChanged::Outcome_Name(task.outcome());
  return task.outcome() == v1::TaskChanged::OUTCOME_UNSPECIFIED ? "CHANGED" : name;
}

std::string TaskLine(const v1::TaskChanged& task) {
  std::string line = absl::StrCat(task.stage(), "  ", task.task(), "  ", TaskOutcome(task));
  if (!task.worker().empty()) absl::StrAppend(&line, " on ", task.worker());
  if (task.attempt() > 1) absl::StrAppend(&line, " (attempt ", task.attempt(), ")");
  if (task.seconds() > 0) absl::StrAppend(&line, " in ", FormatSeconds(task.seconds()));
  const std::string error = ErrorText(task.error());
  return error.empty() ? line : absl::StrCat(line, ": ", error);
}

std::string StateLine(const v1::StateChanged& change) {
  const std::string line = absl::StrCat("job ", StateName(change.state()));
  // The reason of a failure is the error's message.
  const std::string error = ErrorText(change.error());
  if (!error.empty()) return absl::StrCat(line, ": ", error);
  return change.reason().empty() ? line : absl::StrCat(line, " (", change.reason(), ")");
}

std::string WaitingLine(const v1::Waiting& waiting) {
  return waiting.reason().empty() ? "goes on" : absl::StrCat("waits: ", waiting.reason());
}

std::string WorkerState(v1::Worker::State state) { return v1::Worker::State_Name(state); }

}  // namespace

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string StateName(v1::Job::State state) {
  return state == v1::Job::STATE_UNSPECIFIED ? "UNKNOWN" : v1::Job::State_Name(state);
}

Style StateStyle(v1::Job::State state) {
  switch (state) {
    case v1::Job::SUCCEEDED:
      return Style::kGood;
    case v1::Job::FAILED:
      return Style::kBad;
    case v1::Job::RUNNING:
    case v1::Job::CANCELLING:
      return Style::kBusy;
    default:
      return Style::kFaint;
  }
}

std::string RenderJobs(const v1::ListJobsResponse& jobs, absl::Time now, const Palette& palette) {
  if (jobs.jobs().empty()) return "no jobs\n";
  const auto any = [&jobs](const auto& has) {
    return std::any_of(jobs.jobs().begin(), jobs.jobs().end(), has);
  };
  const bool named = any([](const v1::Job& job) { return !job.display_name().empty(); });
  const bool retried = any([](const v1::Job& job) { return !job.parent_job().empty(); });
  std::vector<Column> columns = {{"JOB"}};
  if (named) columns.push_back({"NAME"});
  for (const char* title : {"MODEL", "BUDGET", "HEURISTIC", "STATE"}) columns.push_back({title});
  columns.push_back({"PROGRESS", Align::kRight});
  columns.push_back({"AGE", Align::kRight});
  if (retried) columns.push_back({"RETRY OF"});
  TextTable table(columns);
  for (const v1::Job& job : jobs.jobs()) {
    std::vector<Cell> row = {ShortName(job.name())};
    if (named) row.emplace_back(job.display_name());
    row.emplace_back(ModelLabel(job.spec().model().uri()));
    row.emplace_back(BudgetText(job.spec().budget()));
    row.emplace_back(HeuristicText(job.spec().heuristic()));
    row.emplace_back(StateName(job.state()), StateStyle(job.state()));
    row.emplace_back(ProgressText(job));
    row.emplace_back(job.has_create_time() ? FormatAge(now - ToTime(job.create_time())) : "-");
    if (retried) row.emplace_back(ShortName(job.parent_job()));
    table.AddRow(std::move(row));
  }
  return table.Render(0, palette);
}

namespace {

std::string StageTable(const v1::Progress& progress) {
  TextTable table({{"STAGE"},
                   {"", Align::kLeft},
                   {"DONE", Align::kRight},
                   {"TOTAL", Align::kRight},
                   {"CACHED", Align::kRight},
                   {"RUNNING", Align::kRight},
                   {"WORKER TIME", Align::kRight}});
  for (const v1::StageProgress& stage : progress.stages()) {
    const double fraction = stage.tasks_total() > 0 ? 1.0 * stage.tasks_done() / stage.tasks_total() : 0;
    table.AddRow({stage.stage(), Bar(fraction, 12), absl::StrCat(stage.tasks_done()),
                  absl::StrCat(stage.tasks_total()), absl::StrCat(stage.tasks_cached()),
                  absl::StrCat(stage.tasks_running()), FormatSeconds(stage.task_seconds())});
  }
  return table.Render();
}

}  // namespace

std::string RenderJob(const v1::Job& job, const Palette& palette) {
  Facts facts;
  facts.Add("job", job.name().empty() ? "(not created)" : job.name());
  facts.Add("display name", job.display_name());
  facts.Add("labels", MapText(job.labels()));
  if (job.state() != v1::Job::STATE_UNSPECIFIED)
    facts.Add("state", {StateName(job.state()), StateStyle(job.state())});
  facts.Add("reason", job.state_reason());
  facts.Add("error", {ErrorText(job.error()), Style::kBad});
  AddSpecFacts(job.spec(), job.resolved_spec(), facts);
  for (const std::string& warning : job.warnings()) facts.Add("warning", warning);
  facts.Add("artifact", job.artifact());
  facts.Add("retry of", job.parent_job());
  if (job.has_create_time()) facts.Add("created", Time(job.create_time()));
  if (job.has_start_time()) facts.Add("started", Time(job.start_time()));
  if (job.has_finish_time()) facts.Add("finished", Time(job.finish_time()));
  if (job.progress().stages().empty()) return facts.Render(palette);
  return absl::StrCat(facts.Render(palette), "\n", StageTable(job.progress()));
}

std::string RenderDescription(const v1::Job& job, const v1::ListTasksResponse& tasks,
                              const v1::ListJobEventsResponse& last_events, const Palette& palette) {
  v1::ListTasksResponse notable;
  for (const v1::Task& task : tasks.tasks()) {
    const bool troubled = task.state() == v1::Task::FAILED || task.attempts() > 1;
    if (troubled || task.state() == v1::Task::RUNNING) *notable.add_tasks() = task;
  }
  std::string text = RenderJob(job, palette);
  if (!notable.tasks().empty()) absl::StrAppend(&text, "\n", RenderTasks(notable));
  if (!last_events.events().empty()) absl::StrAppend(&text, "\n", RenderEvents(last_events));
  return text;
}

std::string RenderTasks(const v1::ListTasksResponse& tasks) {
  if (tasks.tasks().empty()) return "no tasks\n";
  TextTable table({{"TASK"},
                   {"STAGE"},
                   {"STATE"},
                   {"WORKER"},
                   {"ATTEMPTS", Align::kRight},
                   {"TIME", Align::kRight},
                   {"NOTE"}});
  for (const v1::Task& task : tasks.tasks()) {
    const std::string note = task.cached() ? "cached" : ErrorText(task.error());
    table.AddRow({task.name(), task.stage(), v1::Task::State_Name(task.state()), task.worker(),
                  absl::StrCat(task.attempts()), task.seconds() > 0 ? FormatSeconds(task.seconds()) : "",
                  note});
  }
  return table.Render();
}

std::string EventLine(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kStateChanged:
      return Printable(StateLine(event.state_changed()));
    case v1::JobEvent::kTaskChanged:
      return Printable(TaskLine(event.task_changed()));
    case v1::JobEvent::kProgress:
      return "progress";
    case v1::JobEvent::kHeartbeat:
      return "heartbeat";
    case v1::JobEvent::kWaiting:
      return Printable(WaitingLine(event.waiting()));
    case v1::JobEvent::EVENT_NOT_SET:
      break;
  }
  return "an event that this client does not know";
}

std::string RenderEvents(const v1::ListJobEventsResponse& events) {
  if (events.events().empty()) return "no events\n";
  TextTable table({{"SEQ", Align::kRight}, {"TIME"}, {"EVENT"}});
  for (const v1::JobEvent& event : events.events()) {
    table.AddRow({absl::StrCat(event.seq()), Time(event.time()), EventLine(event)});
  }
  return table.Render();
}

std::string RenderEstimate(const v1::Estimate& estimate) {
  Facts facts;
  facts.Add("original", FormatByteSize(estimate.original_bytes()));
  facts.Add("smallest plan", absl::StrFormat("%s  (%.2f bits)", FormatByteSize(estimate.minimum_bytes()),
                                             estimate.minimum_average_bits()));
  facts.Add("largest plan", absl::StrFormat("%s  (%.2f bits)", FormatByteSize(estimate.maximum_bytes()),
                                            estimate.maximum_average_bits()));
  facts.Add("asked budget",
            estimate.budget_bytes() > 0 ? FormatByteSize(estimate.budget_bytes()) : "infeasible");
  if (estimate.predicted_bytes() > 0) {
    facts.Add("weight files", absl::StrCat(estimate.bytes_exact() ? "" : "about ",
                                           FormatCount(estimate.predicted_bytes()), " bytes"));
  }
  if (estimate.calibration_tokens() > 0) {
    std::string tokens = FormatCount(estimate.calibration_tokens());
    if (estimate.tokens_per_expert() > 0) {
      absl::StrAppend(&tokens, ", about ", FormatCount(estimate.tokens_per_expert()), " an expert");
    }
    facts.Add("calibration tokens", tokens);
  }
  if (estimate.seconds() > 0) {
    facts.Add("time", absl::StrFormat("about %s with %d %s", FormatSeconds(estimate.seconds()),
                                      estimate.workers(), estimate.workers() == 1 ? "worker" : "workers"));
  } else if (estimate.workers() > 0) {
    facts.Add("time", "not known: no job has timed such tasks yet");
  }
  facts.Add("worker memory", FormatByteSize(estimate.worker_memory_bytes()));
  facts.Add("quantized linears", FormatCount(estimate.quantized_linears()));
  facts.Add("tasks", FormatCount(estimate.tasks()));
  for (const std::string& warning : estimate.warnings()) facts.Add("warning", warning);
  return facts.Render();
}

std::string RenderArtifacts(const v1::ListArtifactsResponse& artifacts) {
  if (artifacts.artifacts().empty()) return "no artifacts\n";
  TextTable table({{"ARTIFACT"}, {"SIZE", Align::kRight}, {"FILES", Align::kRight}, {"CREATED"}, {"PATH"}});
  for (const v1::Artifact& artifact : artifacts.artifacts()) {
    table.AddRow({artifact.name(), FormatByteSize(artifact.size_bytes()), absl::StrCat(artifact.files_size()),
                  Time(artifact.create_time()), artifact.path()});
  }
  return table.Render();
}

std::string RenderArtifact(const v1::Artifact& artifact) {
  Facts facts;
  facts.Add("artifact", artifact.name());
  facts.Add("job", artifact.job());
  facts.Add("size", FormatByteSize(artifact.size_bytes()));
  facts.Add("path", artifact.path());
  facts.Add("manifest", artifact.manifest_sha256());
  if (artifact.has_create_time()) facts.Add("created", Time(artifact.create_time()));
  TextTable table({{"FILE"}, {"SIZE", Align::kRight}, {"SHA-256"}});
  for (const v1::ArtifactFile& file : artifact.files()) {
    table.AddRow({file.path(), FormatByteSize(file.digest().size_bytes()), file.digest().sha256()});
  }
  return absl::StrCat(facts.Render(), "\n", table.Render());
}

std::string RenderHeuristics(const v1::ListHeuristicsResponse& heuristics) {
  TextTable table({{"HEURISTIC"}, {"WHAT IT DOES"}});
  for (const v1::HeuristicInfo& heuristic : heuristics.heuristics()) {
    table.AddRow({heuristic.name(), heuristic.description()});
    const std::map<std::string, std::string> params(heuristic.params().begin(), heuristic.params().end());
    for (const auto& [name, description] : params) {
      table.AddRow({"", absl::StrCat("--param ", name, "=...  ", description)});
    }
  }
  if (heuristics.presets().empty()) return table.Render();
  TextTable presets({{"PRESET"}, {"BITS", Align::kRight}, {"HEURISTIC"}, {"PUBLISHED CONFIGURATION"}});
  for (const v1::PresetInfo& preset : heuristics.presets()) {
    presets.AddRow({preset.name(), absl::StrFormat("%.2f", preset.average_bits()), preset.heuristic(),
                    preset.description()});
  }
  return absl::StrCat(table.Render(), "\n", presets.Render());
}

std::string RenderProfiles(const v1::ListProfilesResponse& profiles) {
  TextTable table({{"PROFILE"}, {"WIDTHS"}, {"GROUP SIZES"}, {"LOADERS"}});
  for (const v1::ProfileInfo& profile : profiles.profiles()) {
    table.AddRow({profile.name(), absl::StrJoin(profile.widths(), ","),
                  absl::StrJoin(profile.group_sizes(), ","), profile.description()});
  }
  return table.Render();
}

std::string RenderWorkers(const v1::ListWorkersResponse& workers) {
  if (workers.workers().empty()) return "no workers; start one with `quantmoe-worker --server ADDR`\n";
  TextTable table({{"WORKER"},
                   {"STATE"},
                   {"DEVICE"},
                   {"THREADS", Align::kRight},
                   {"MEMORY", Align::kRight},
                   {"BLOBS"},
                   {"DONE", Align::kRight},
                   {"SINCE"},
                   {"TASK"}});
  for (const v1::Worker& worker : workers.workers()) {
    table.AddRow({worker.id(), WorkerState(worker.state()), worker.device(), absl::StrCat(worker.threads()),
                  FormatByteSize(worker.memory_bytes()), worker.shared_blobs() ? "shared" : "streamed",
                  FormatCount(worker.tasks_done()), Time(worker.connect_time()), worker.task()});
  }
  return table.Render();
}

std::string RenderCapabilities(const v1::Capabilities& capabilities) {
  Facts facts;
  facts.Add("version", capabilities.version());
  facts.Add("api", capabilities.api_version());
  facts.Add("families", absl::StrJoin(capabilities.families(), ", "));
  facts.Add("heuristics", absl::StrJoin(capabilities.heuristics(), ", "));
  facts.Add("profiles", absl::StrJoin(capabilities.profiles(), ", "));
  facts.Add("widths", absl::StrJoin(capabilities.widths(), ", "));
  facts.Add("largest chunk", FormatByteSize(capabilities.max_chunk_bytes()));
  facts.Add("data directory", capabilities.data_dir());
  return facts.Render();
}

}  // namespace quantmoe
