#!/usr/bin/env python3
"""Every metric and label that the dashboard and the alerts use is really exported.

Starts a server and a worker, runs a small job, and reads /metrics of both. With a Prometheus in PATH, every dashboard
expression is also evaluated by it over that scrape and must give a value.
"""
import argparse
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
FROM_PROMETHEUS = {"up"}
FROM_PROMETHEUS_LABELS = {"job", "instance", "le"}
KEYWORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "offset", "bool", "group_left", "group_right"}


def wait_until(what, condition):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE_SECONDS} s")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


class Service:
    """A server and a worker on free ports; ends them when left, and shows their logs when something failed."""

    def __init__(self, options, directory):
        self.options, self.directory, self.processes = options, directory, []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _start(self):
        ports = self.directory / "ports.json"
        self.spawn("server", self.options.server, "--data-dir", self.directory / "data", "--model-root", ROOT / "testdata",
                   "--listen", "127.0.0.1:0", "--worker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
                   "--port-file", ports)
        self.addresses = json.loads(wait_until("server ports", lambda: ports.exists() and ports.read_text()))
        worker_port = self.directory / "worker_port"
        # Streamed, so that the panels of blob traffic have something to show.
        self.spawn("worker", self.options.worker, "--server", self.addresses["worker"], "--threads", "1", "--blobs", "streamed",
                   "--http-listen", "127.0.0.1:0", "--port-file", worker_port)
        port = wait_until("worker port", lambda: worker_port.exists() and worker_port.read_text().strip())
        self.http = {"quantmoe-server": self.addresses["http"], "quantmoe-worker": f"127.0.0.1:{port}"}

    def spawn(self, name, *command):
        log = open(self.directory / f"{name}.log", "wb")
        self.processes.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT))

    def short_text(self):
        path = self.directory / "text.txt"
        path.write_text((ROOT / "testdata/tiny_heldout.txt").read_text()[:8000])
        return path

    def run_job(self):
        subprocess.run([self.options.client, "--server", self.addresses["grpc"], "submit", ROOT / "testdata/tiny-qwen2-moe",
                        "--bits", "3", "--widths", "2,3,4", "--heuristic", "first-blocks", "--samples", "4",
                        "--sequence-length", "64", "--text", self.short_text(), "--window", "64",
                        "--calibration", ROOT / "testdata/tiny_calibration.txt", "--max-fallback-ratio", "1", "--watch"],
                       check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_SECONDS)

    def __exit__(self, kind, value, trace):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if kind is not None:
            for log in sorted(self.directory.glob("*.log")):
                print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)


def expressions():
    """(where, expression) of all panels and alerts."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/quantmoe.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel '{panel['title']}'", target["expr"].replace("$__rate_interval", "1m")
    alerts = (ROOT / "deploy/alerts.yml").read_text()
    for name, expression in re.findall(r"- alert: (\S+)\n(?:\s*#.*\n)*\s*expr: (?:>-\s*)?((?:.|\n)*?)\n\s*(?:for|labels):", alerts):
        yield f"alert {name}", " ".join(expression.split())


def test_series():
    """(where, selector) of the series that the tests of the alerts are made of: they prove nothing of series that no program writes."""
    for selector in sorted(set(re.findall(r"series: '([^']*)'", (ROOT / "deploy/alerts_test.yml").read_text()))):
        yield "alerts_test.yml", selector


def parse_expression(expression):
    """Names of metrics, names of labels, and (metric, label, value) of the matches in a PromQL expression; a regular expression
    stands for its alternatives."""
    labels, values = set(), set()
    for metric, selector in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', selector):
            labels.add(label)
            values.update((metric, label, one) for one in (value.split("|") if "~" in operator else [value]))
    for group in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression):
        labels.update(re.findall(r"\w+", group))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without)\s*\([^)]*\)", " ", expression)
    names = set(re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w)(?!\s*\()", bare)) - KEYWORDS
    return names, labels - FROM_PROMETHEUS_LABELS, {found for found in values if found[1] not in FROM_PROMETHEUS_LABELS}


def parse_scrape(text):
    """Series name -> label -> values."""
    series = {}
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? ", text, re.MULTILINE):
        seen = series.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            seen.setdefault(label, set()).add(value)
    return series


def merge(scrapes):
    merged = {}
    for scrape in scrapes:
        for name, labels in parse_scrape(scrape).items():
            for label, values in labels.items():
                merged.setdefault(name, {}).setdefault(label, set()).update(values)
            merged.setdefault(name, {})
    return merged


def check_names(series):
    """What is wrong with each expression, as text. Every series exists from the start, so a label's values are those of the scrape."""
    for where, expression in [*expressions(), *test_series()]:
        names, labels, values = parse_expression(expression)
        for name in names - FROM_PROMETHEUS:
            if name not in series:
                yield f"{where}: no metric {name}"
            labels -= set(series.get(name, ()))
        for label in labels:
            yield f"{where}: no label {label} in {expression}"
        for name, label, value in values:
            if name in series and value not in series[name].get(label, ()):
                yield f"{where}: nothing sets {label} of {name} to {value}"


def start_prometheus(service):
    config = {"global": {"scrape_interval": "1s"},
              "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in service.http.items()]}
    file = service.directory / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    service.spawn("prometheus", "prometheus", f"--config.file={file}", f"--storage.tsdb.path={service.directory / 'tsdb'}",
                  "--web.listen-address=127.0.0.1:0", "--log.level=info")
    log = service.directory / "prometheus.log"
    return wait_until("Prometheus", lambda: re.search(r'"Listening on" address=(\S+)', log.read_text())).group(1)


def query(address, expression):
    parameters = urllib.parse.urlencode({"query": expression})
    return json.loads(get(f"http://{address}/api/v1/query?{parameters}"))["data"]["result"]


def check_values(address):
    """Expressions of the dashboard without a value, once Prometheus has had time for two scrapes."""
    pending = [(where, expression) for where, expression in expressions() if where.startswith("panel")]

    def all_have_values():
        pending[:] = [(where, expression) for where, expression in pending if not query(address, expression)]
        return not pending

    try:
        wait_until("values of all expressions", all_have_values)
    except AssertionError:
        pass
    return [f"{where}: no value for {expression}" for where, expression in pending]


def main():
    parser = argparse.ArgumentParser()
    for program in ("server", "worker", "client"):
        parser.add_argument(f"--{program}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-dashboard-") as directory:
        with Service(options, pathlib.Path(directory)) as service:
            prometheus = start_prometheus(service) if shutil.which("prometheus") else None
            service.run_job()
            # Gauges are taken from the facts once a second.
            wait_until("the quality of the job", lambda: "quantmoe_job_verdict{" in get(f"http://{service.http['quantmoe-server']}/metrics"))
            series = merge(get(f"http://{address}/metrics") for address in service.http.values())
            problems = list(check_names(series))
            if prometheus and not problems:
                problems += check_values(prometheus)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(list(expressions()))} expressions, {len(series)} series names, "
          f"{'evaluated by Prometheus' if prometheus else 'names only'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
