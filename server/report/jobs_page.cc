#include "server/report/jobs_page.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

#include "base/byte_size.h"
#include "base/text.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

constexpr char kHead[] = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
)html";

constexpr char kStyle[] = R"html(<title>quantmoe</title>
<style>
:root { color-scheme: light dark; --bg: #ffffff; --fg: #1c2024; --dim: #60646c; --line: #d9d9e0; --card: #f6f6f8; --accent: #0a66c2;
        --good: #18794e; --bad: #b42318; --busy: #0a66c2; --wait: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #15171a; --fg: #e8eaed; --dim: #a0a5ad; --line: #363a40; --card: #1e2125; --accent: #7cb7ff; --good: #5bd197; --bad: #ff8f80;
          --busy: #7cb7ff; --wait: #e5b567; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 1rem; background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; align-items: baseline; }
h1 { font-size: 1.5rem; margin: 0; }
nav { margin-left: auto; } nav a + a { margin-left: 1rem; }
a { color: var(--accent); }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.dim { color: var(--dim); } small { color: var(--dim); font-size: .85em; }
.notice { border: 1px solid var(--bad); border-left-width: 6px; border-radius: 6px; padding: .5rem .8rem; margin: .8rem 0; }
.notice.calm { border-color: var(--dim); } .empty { margin: 1rem 0; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); gap: .6rem; margin: 1rem 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .8rem; }
dt { color: var(--dim); } dd { margin: 0; font-size: 1.25rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: 1.1rem; font-weight: 600; padding: 1rem 0 .4rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--dim); white-space: nowrap; } tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 9rem; }
td.number, th.number { text-align: right; white-space: nowrap; } td.text { overflow-wrap: anywhere; min-width: 8rem; }
td small, th small { display: block; font-weight: 400; overflow-wrap: anywhere; }
progress { width: 9rem; height: .7rem; accent-color: var(--accent); }
.state { white-space: nowrap; font-weight: 600; } .state::before { content: "\25CF\00A0"; }
.good { color: var(--good); } .bad { color: var(--bad); } .busy { color: var(--busy); } .wait { color: var(--wait); }
code { font-size: .95em; }
</style>
</head>
<body>
)html";

// A state in words of its own, with the colour that its kind has everywhere.
struct Look {
  std::string word;
  const char* style;
};

Look LookOf(v1::Job::State state, bool waits) {
  const std::string word = absl::AsciiStrToLower(v1::Job::State_Name(state));
  switch (state) {
    case v1::Job::QUEUED:
      return {word, "wait"};
    case v1::Job::RUNNING:
      return waits ? Look{"waiting", "wait"} : Look{word, "busy"};
    case v1::Job::SUCCEEDED:
      return {word, "good"};
    case v1::Job::FAILED:
      return {word, "bad"};
    default:
      return {word, "dim"};
  }
}

Look LookOf(v1::Worker::State state) {
  const std::string word = absl::AsciiStrToLower(v1::Worker::State_Name(state));
  switch (state) {
    case v1::Worker::BUSY:
      return {word, "busy"};
    case v1::Worker::IDLE:
      return {word, "good"};
    case v1::Worker::SUSPECT:
      return {"silent", "bad"};
    default:
      return {word, "wait"};
  }
}

std::string Cell(const std::string& html) { return absl::StrCat("<td>", html, "</td>"); }
std::string TextCell(absl::string_view text) {
  return absl::StrCat("<td class=\"text\">", EscapeHtml(text), "</td>");
}
// Long paths break between their folders.
std::string PathCell(absl::string_view path) {
  return absl::StrCat("<td class=\"text\">", absl::StrReplaceAll(EscapeHtml(path), {{"/", "/<wbr>"}}),
                      "</td>");
}
std::string NumberCell(const std::string& html) {
  return absl::StrCat("<td class=\"number\">", html, "</td>");
}
std::string Small(const std::string& html) {
  return html.empty() ? "" : absl::StrCat("<small>", html, "</small>");
}
std::string State(const Look& look) {
  return absl::StrCat("<span class=\"state ", look.style, "\">", EscapeHtml(look.word), "</span>");
}

std::string TimeText(absl::Time time) {
  return absl::StrCat("<time datetime=\"", absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone()),
                      "\">", absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone()), "</time>");
}

struct Title {
  const char* text;
  bool number = false;
};

// A table that screen readers can find their way in; `rows` are whole <tr> elements.
std::string Table(const std::string& caption, const std::vector<Title>& titles, const std::string& rows) {
  std::string head;
  for (const Title& title : titles) {
    absl::StrAppend(&head, "<th scope=\"col\"", title.number ? " class=\"number\">" : ">", title.text,
                    "</th>");
  }
  return absl::StrCat("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", caption,
                      "\"><table>\n<caption>", caption, "</caption>\n<thead><tr>", head,
                      "</tr></thead>\n<tbody>\n", rows, "</tbody></table></div>\n");
}

std::string NameOf(const JobRow& job) {
  const std::string title = EscapeHtml(job.title.empty() ? job.id : job.title);
  return absl::StrCat("<th scope=\"row\">", title, job.title.empty() ? "" : Small(EscapeHtml(job.id)),
                      "</th>");
}

bool HasEnded(const JobRow& job) { return IsTerminal(job.state); }

std::string StateOf(const JobRow& job) {
  const bool waits = !HasEnded(job) && !job.reason.empty();
  return absl::StrCat("<td class=\"text\">", State(LookOf(job.state, waits)), Small(EscapeHtml(job.reason)),
                      "</td>");
}

std::string ProgressOf(const JobRow& job) {
  if (job.state == v1::Job::SUCCEEDED) {
    const std::string scores = job.perplexity > 0 ? absl::StrFormat("perplexity %.4g from %.4g",
                                                                    job.perplexity, job.original_perplexity)
                                                  : std::string();
    return Cell(absl::StrCat("<a href=\"/jobs/", EscapeHtml(job.id), "/report\">Report<small>", scores,
                             "</small></a>"));
  }
  if (!job.expanded) return Cell(job.workers > 0 ? "preparing" : "");
  const std::string text = absl::StrCat(job.tasks_done, " of ", job.tasks_total, " tasks");
  std::vector<std::string> more;
  if (!job.stages.empty())
    more.push_back(
        absl::StrCat(EscapeHtml(job.stages), " on ", job.workers, job.workers == 1 ? " worker" : " workers"));
  if (job.tasks_cached > 0) more.push_back(absl::StrCat(job.tasks_cached, " known before"));
  return Cell(absl::StrCat("<progress value=\"", job.tasks_done, "\" max=\"", std::max(job.tasks_total, 1),
                           "\" aria-label=\"", text, "\"></progress>",
                           Small(absl::StrCat(text, more.empty() ? "" : "; ", absl::StrJoin(more, "; ")))));
}

std::string HeuristicOf(const JobRow& job) {
  const std::string profile = job.profile.empty() ? "" : absl::StrCat("for ", EscapeHtml(job.profile));
  return absl::StrCat("<td class=\"text\">", EscapeHtml(job.heuristic), Small(profile), "</td>");
}

std::string RowOf(const JobRow& job, absl::Time now) {
  const bool started = job.started != absl::InfinitePast();
  const absl::Duration took = (HasEnded(job) ? job.finished : now) - job.started;
  return absl::StrCat("<tr>", NameOf(job), StateOf(job), ProgressOf(job), PathCell(job.model),
                      TextCell(job.budget), HeuristicOf(job),
                      NumberCell(absl::StrCat(SpanText(now - job.created), Small(TimeText(job.created)))),
                      NumberCell(started         ? SpanText(took)
                                 : HasEnded(job) ? "-"
                                                 : "not started"),
                      "</tr>\n");
}

std::string RowOf(const WorkerRow& worker, const JobsPage& page) {
  const bool same = worker.version == page.version || worker.version.empty();
  const std::string version =
      absl::StrCat(EscapeHtml(worker.version), same ? "" : Small("differs from the coordinator's"));
  std::vector<std::string> tasks;
  for (const std::string& task : worker.tasks) tasks.push_back(EscapeHtml(task));
  return absl::StrCat(
      "<tr><th scope=\"row\">", EscapeHtml(worker.id), "</th>", Cell(State(LookOf(worker.state))),
      absl::StrCat("<td class=\"text\">", tasks.empty() ? "" : absl::StrJoin(tasks, "<br>"), "</td>"),
      absl::StrCat("<td class=\"text\">", EscapeHtml(worker.device),
                   Small(EscapeHtml(worker.determinism_class)), "</td>"),
      NumberCell(absl::StrCat(worker.threads)), NumberCell(FormatByteSize(worker.memory_bytes)),
      Cell(version), NumberCell(absl::StrCat(worker.tasks_done)), NumberCell(SpanText(worker.silent)),
      NumberCell(SpanText(page.now - worker.connected)), "</tr>\n");
}

std::string Header(const JobsPage& page) {
  std::string html = absl::StrCat(
      "<header><h1>quantmoe</h1><span class=\"dim\">coordinator ", EscapeHtml(page.version), ", term ",
      page.term, ", data in <code>", EscapeHtml(page.data_dir), "</code>, ", TimeText(page.now),
      "</span><nav aria-label=\"For machines\"><a href=\"/readyz\">ready?</a><a href=\"/healthz\">alive?</a>"
      "<a href=\"/metrics\">metrics</a></nav></header>\n<main>\n");
  if (!page.notice.empty()) {
    absl::StrAppend(&html, "<p class=\"notice\" role=\"alert\">", EscapeHtml(page.notice), "</p>\n");
  }
  if (page.recovering) {
    absl::StrAppend(
        &html,
        "<p class=\"notice calm\" role=\"status\">The coordinator has just started: tasks of workers "
        "that have not come back yet are given to others after one lease.</p>\n");
  }
  return html;
}

std::string Counts(const JobsPage& page) {
  const int64_t busy = std::count_if(page.workers.begin(), page.workers.end(),
                                     [](const WorkerRow& worker) { return !worker.tasks.empty(); });
  std::string html = "<dl>";
  const auto add = [&html](absl::string_view title, const std::string& value) {
    absl::StrAppend(&html, "<div><dt>", title, "</dt><dd>", value, "</dd></div>");
  };
  for (const v1::Job::State state :
       {v1::Job::RUNNING, v1::Job::QUEUED, v1::Job::SUCCEEDED, v1::Job::FAILED, v1::Job::CANCELLED}) {
    add(absl::AsciiStrToLower(v1::Job::State_Name(state)), absl::StrCat(page.jobs_by_state.at(state)));
  }
  add("workers busy", absl::StrCat(busy, " of ", page.workers.size()));
  return html + "</dl>\n";
}

std::string Jobs(const JobsPage& page) {
  if (page.jobs.empty()) {
    return "<p class=\"empty\">There is no job yet. Submit one: <code>quantmoe submit MODEL --bits 3 "
           "--watch</code></p>\n";
  }
  std::string rows;
  for (const JobRow& job : page.jobs) absl::StrAppend(&rows, RowOf(job, page.now));
  std::string html = Table("Jobs",
                           {{"Job"},
                            {"State"},
                            {"Progress"},
                            {"Model"},
                            {"Budget"},
                            {"Heuristic"},
                            {"Age", true},
                            {"Duration", true}},
                           rows);
  if (page.hidden_jobs > 0) {
    absl::StrAppend(&html, "<p class=\"dim\">", page.hidden_jobs,
                    " older jobs have ended: <code>quantmoe list</code> shows all.</p>\n");
  }
  return html;
}

std::string Workers(const JobsPage& page) {
  if (page.workers.empty()) {
    return "<p class=\"empty\">No worker is connected. Start one: <code>quantmoe-worker --server "
           "HOST:PORT</code></p>\n";
  }
  std::string rows;
  for (const WorkerRow& worker : page.workers) absl::StrAppend(&rows, RowOf(worker, page));
  return Table("Workers",
               {{"Worker"},
                {"State"},
                {"Runs"},
                {"Device"},
                {"Threads", true},
                {"Memory", true},
                {"Version"},
                {"Tasks done", true},
                {"Heard", true},
                {"Connected", true}},
               rows);
}

// While something goes on, the page is worth another look.
bool Changes(const JobsPage& page) {
  return std::any_of(page.jobs.begin(), page.jobs.end(), [](const JobRow& job) { return !HasEnded(job); });
}

}  // namespace

std::string SpanText(absl::Duration span) {
  if (span < absl::ZeroDuration() || span == absl::InfiniteDuration()) return "-";
  const int64_t minutes = absl::ToInt64Minutes(span);
  if (minutes == 0) return absl::StrCat(absl::ToInt64Seconds(span), " s");
  if (minutes < 60) return absl::StrCat(minutes, " min");
  const int64_t hours = minutes / 60;
  if (hours < 24) return absl::StrCat(hours, " h ", minutes % 60, " min");
  return absl::StrCat(hours / 24, " d ", hours % 24, " h");
}

std::string RenderJobsPage(const JobsPage& page) {
  return absl::StrCat(kHead, Changes(page) ? "<meta http-equiv=\"refresh\" content=\"10\">\n" : "", kStyle,
                      Header(page), Counts(page), Jobs(page), Workers(page), "</main>\n</body>\n</html>\n");
}

}  // namespace quantmoe
