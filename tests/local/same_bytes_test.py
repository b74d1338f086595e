#!/usr/bin/env python3
"""One job, computed by the real programs in many ways, calm and killed, gives the same artifact.

Every story ends with the same questions. Did the job succeed, is the manifest the one of the calm run, has every listed
file the listed bytes, and is the event log whole: no gap, and no task that was reported as done is done again?
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from live_service import CRASHED, DEADLINE_SECONDS, LiveService, last_lines, wait_until, watched

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "testdata/tiny-qwen2-moe"
JOB = "job"
SHORT_LEASE = ("--lease", "1", "--heartbeat", "0.25")
# Longer than any pause of a busy machine: a calm run loses no lease.
LONG_LEASE = ("--lease", "60", "--heartbeat", "1")

# Where the server dies, one after another within one job: while it starts, creates, commits, answers, recovers, publishes.
SERVER_CRASHES = ("before-migration-commit", "after-create-commit", "before-commit:8", "before-complete-reply:10",
                  "recovery-begun", "after-commit:12", "after-term", "before-reply:14", "publish-file-placed:3",
                  "before-publish-rename", "after-publish-rename")
UNREACHABLE = 4  # exit code of a client that found nobody when it began
STORIES = []


def story(function):
    STORIES.append(function)
    return function


class Bench:
    """What the stories share: the programs, the inputs of the job, and the manifest that all must reach."""

    def __init__(self, options, directory, more_flags=("--effort", "0")):
        self.programs, self.directory, self.more_flags = options, directory, more_flags
        directory.mkdir(exist_ok=True)
        self.text = directory / "perplexity.txt"
        self.text.write_text((ROOT / "testdata/tiny_heldout.txt").read_text()[:4000])
        self.items = directory / "copa.jsonl"
        lines = (ROOT / "testdata/tasks/copa.jsonl").read_text().splitlines(keepends=True)
        self.items.write_text("".join(lines[:8]))
        self.calm = None  # a future of the digest, set before any story begins

    def job_flags(self):
        return (*self.more_flags, "--heuristic", "optimal", "--calibration", ROOT / "testdata/tiny_calibration.txt", "--samples", "16",
                "--sequence-length", "128", "--shard-sequences", "4", "--text", self.text, "--task", f"copa={self.items}",
                "--add-bos")

    def service(self, name, lease=LONG_LEASE):
        return LiveService(self.programs, ROOT / "testdata", self.directory / name, lease)

    def submit(self, service):
        """Starts a client that submits the job; its request id makes repeated submits one job."""
        command = service.client_command("submit", MODEL, "--name", JOB, "--request-id", "request", "--bits", "3.0",
                                         *self.job_flags())
        return service.spawn("submit", command)

    def quantize_locally(self, threads, environment=()):
        out = self.directory / f"local-{threads}"
        subprocess.run([str(part) for part in (
            self.programs.local, "--threads", threads, "quantize", "--model", MODEL, "--budget", "3.0", "--out", out,
            *self.job_flags())], env=dict(os.environ, **dict(environment)), check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=DEADLINE_SECONDS)
        computed_by = json.loads((out / "artifact.json").read_text())["determinism_class"]
        wanted = os.environ.get("QUANTMOE_INSTRUCTION_SET", "")
        assert f"cpu-{wanted}" in computed_by, f"the artifact says {computed_by}"
        return check_artifact(out)

    def check_manifest(self, manifest):
        calm = self.calm.result(DEADLINE_SECONDS)
        assert manifest == calm, f"manifest {manifest}, of the calm run {calm}"

    def finish(self, service):
        """Waits for the job's end and asks the questions of every story. The event log is returned."""
        wait_until("the job ends", lambda: service.state(JOB) in ("SUCCEEDED", "FAILED", "CANCELLED"))
        assert service.state(JOB) == "SUCCEEDED", service.client("get", JOB)
        artifact = json.loads(service.client("artifact", "show", JOB))
        manifest = check_artifact(pathlib.Path(artifact["path"]))
        assert artifact["manifest_sha256"] == manifest, "the server names another manifest"
        self.check_manifest(manifest)
        events = service.events(JOB)
        check_log(events)
        return events


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_artifact(directory):
    """The digest of the manifest, once every file is what the manifest says and no other file is there."""
    manifest = directory / "artifact.json"
    files = json.loads(manifest.read_text())["files"]
    assert files and {file["path"] for file in files} == {path.name for path in directory.iterdir()} - {manifest.name}
    for file in files:
        assert sha256(directory / file["path"]) == file["sha256"], f"{file['path']} is not what the manifest says"
    return sha256(manifest)


def check_log(events):
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1)), "the log has a gap"
    done = collections.Counter(tasks_of(events, "COMMITTED") + tasks_of(events, "CACHED"))
    assert done["publish"] == 1
    repeated = [task for task, times in done.items() if times != 1]
    assert not repeated, f"done more than once: {repeated}"
    assert events[-1]["state_changed"]["state"] == "SUCCEEDED"


def outcome(event):
    return event.get("task_changed", {}).get("outcome")


def tasks_of(events, wanted, worker=None):
    return [event["task_changed"]["task"] for event in events
            if outcome(event) == wanted and worker in (None, event["task_changed"]["worker"])]


def await_success(process):
    code = wait_until("a client ends", lambda: process.poll() is not None and str(process.poll()))
    assert code == "0", f"{process.args}: {code}"


def await_running(service, worker, stage):
    """Until the worker has a task of the stage."""
    wait_until(f"{worker} runs {stage}", lambda: any(
        task["state"] == "RUNNING" and task["worker"] == worker and task["stage"] == stage
        for task in json.loads(service.client("tasks", JOB))["tasks"]))


def await_loss(service, worker):
    return wait_until(f"a task of {worker} is lost", lambda: tasks_of(service.events(JOB), "LOST", worker))


@story
def server_killed(bench):
    """The server dies at every named point and comes back; client, watcher and worker only ever wait for it."""
    with bench.service("server_killed") as service:
        worker = service.start_worker("steady")
        submitting = watching = output = None
        seen = []

        def dies():
            nonlocal submitting, watching, output, seen
            if submitting is None or submitting.poll() not in (None, 0):
                submitting = bench.submit(service)
            if submitting.poll() == 0 and (watching is None or watching.poll() == UNREACHABLE):
                seen = seen + watched(output) if output else []
                watching, output = service.start_watch(JOB, after_seq=seen[-1]["seq"] if seen else 0)
            return service.server.poll() is not None

        for point in SERVER_CRASHES:
            service.start_server(point)
            wait_until(f"the server dies at {point}", dies)
            assert service.server.returncode == CRASHED, f"{point}: the server ended with {service.server.returncode}"
        service.start_server()
        events = bench.finish(service)
        await_success(watching)
        assert seen + watched(output) == events, "the watcher saw another log"
        assert worker.poll() is None, "the worker did not survive"
        # An assignment may die with the server before it is sent; a task that the worker has may not.
        lost = [event for event in events if outcome(event) == "LOST" and "error" in event["task_changed"]]
        assert not lost, f"the worker came back, and its task was not taken over: {lost}"


@story
def workers_killed(bench):
    """Three workers die, one in a task, one before and one after it reports; the fourth ends the job."""
    with bench.service("workers_killed", SHORT_LEASE) as service:
        service.start_server()
        first = service.start_worker("first")
        await_success(bench.submit(service))
        await_running(service, "first", "solve")
        first.kill()
        for name, point in (("second", "before-complete:6"), ("third", "after-complete:6")):
            worker = service.start_worker(name, crash_at=point)
            wait_until(f"{name} dies", lambda: worker.poll() is not None)
            assert worker.returncode == CRASHED, f"{name} ended with {worker.returncode}"
        service.start_worker("fourth")
        events = bench.finish(service)
        for name, reported in (("second", 5), ("third", 6)):
            assert len(tasks_of(events, "COMMITTED", name)) == reported
            assert name == "third" or tasks_of(events, "LOST", name)
        assert tasks_of(events, "LOST", "first") and tasks_of(events, "COMMITTED", "fourth")


def freeze_and_wake(bench, story_name):
    """True if the worker, once awake, reported a task that was lost before the server told it to drop it."""
    with bench.service(story_name, SHORT_LEASE) as service:
        service.start_server()
        frozen = service.start_worker("frozen")
        await_success(bench.submit(service))
        await_running(service, "frozen", "forward")
        frozen.send_signal(signal.SIGSTOP)
        lost = wait_until("its task is lost", lambda: tasks_of(service.events(JOB), "LOST", "frozen"))
        service.start_worker("other")
        wait_until("the other does it", lambda: set(lost) <= set(tasks_of(service.events(JOB), "COMMITTED", "other")))
        frozen.send_signal(signal.SIGCONT)
        wait_until("it is back", lambda: '"frozen"' in service.client("workers"))
        bench.finish(service)
        assert frozen.poll() is None, "the worker did not survive"
        return "result came too late" in last_lines(service.directory, count=1000)


@story
def frozen_worker(bench):
    """Stopped within a task for longer than its lease, then woken: what it reports late changes nothing.

    Awake, it reports and reconnects at once, and the first to arrive wins: nearly always the report of a short task.
    """
    tries = (freeze_and_wake(bench, f"frozen_worker/{number}") for number in (1, 2, 3))
    assert any(tries), "the worker never reported late"


@story
def streamed_worker(bench):
    """Blobs go over the wire, and the server dies in the middle of the uploads."""
    with bench.service("streamed_worker") as service:
        service.start_server("upload-chunk-stored:20")
        service.start_worker("streamed", "--blobs", "streamed", "--scratch-dir", service.directory / "scratch")
        await_success(bench.submit(service))
        wait_until("the server dies", lambda: service.server.poll() is not None)
        assert service.server.returncode == CRASHED
        service.start_server()
        wait_until("the worker is back", lambda: json.loads(service.client("workers"))["workers"])
        assert not json.loads(service.client("workers"))["workers"][0]["shared_blobs"]
        bench.finish(service)


@story
def one_worker(bench):
    """A watcher is killed and another one resumes after the last event that it wrote; the artifact is downloaded."""
    with bench.service("one_worker") as service:
        service.start_server()
        service.start_worker("only")
        await_success(bench.submit(service))
        watching, seen = service.start_watch(JOB)
        wait_until("some events", lambda: len(watched(seen)) >= 10)
        watching.kill()
        watching.wait()
        before = watched(seen)
        watching, seen = service.start_watch(JOB, after_seq=before[-1]["seq"])
        await_success(watching)
        assert before + watched(seen) == bench.finish(service), "two watchers saw another log than one"
        copy = service.directory / "copy"
        service.client("artifact", "download", JOB, "--out", copy)
        bench.check_manifest(check_artifact(copy))
        service.client("artifact", "verify", copy)


def run_calmly(bench, story_name, workers):
    names = {f"worker-{index}" for index in range(workers)}
    with bench.service(story_name) as service:
        service.start_server()
        for name in names:
            service.start_worker(name)
        wait_until("all workers", lambda: len(json.loads(service.client("workers"))["workers"]) == workers)
        await_success(bench.submit(service))
        events = bench.finish(service)
        assert {event["task_changed"]["worker"] for event in events if "task_changed" in event} == names
        assert not tasks_of(events, "LOST")


@story
def two_workers(bench):
    run_calmly(bench, "two_workers", 2)


@story
def four_workers(bench):
    run_calmly(bench, "four_workers", 4)


@story
def local_two_threads(bench):
    """And with the libraries' own variables, which must not choose what they compute with."""
    bench.check_manifest(bench.quantize_locally(threads=2, environment={
        "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41"}))


def one_of_two_dies(bench, stage, meanwhile=lambda service: None):
    """In a task of that stage; then `meanwhile`, and the job ends as a calm one here."""
    with bench.service("service", SHORT_LEASE) as service, concurrent.futures.ThreadPoolExecutor() as pool:
        bench.calm = pool.submit(bench.quantize_locally, threads=1)
        service.start_server()
        dying = service.start_worker("dying")
        service.start_worker("steady")
        await_success(bench.submit(service))
        await_running(service, "dying", stage)
        dying.kill()
        meanwhile(service)
        assert tasks_of(bench.finish(service), "LOST", "dying"), "nothing was lost"


@story
def quantized_pass_killed(bench):
    """The second pass, layer after layer on quantized inputs: one of two workers dies in it, and the server after a task."""
    def server_dies(service):
        service.server.kill()
        service.server.wait()
        service.start_server()

    second = Bench(bench.programs, bench.directory / "quantized_pass_killed", ("--propagation", "quantized", "--effort", "0"))
    one_of_two_dies(second, "resolve", server_dies)
    second.check_manifest(second.quantize_locally(threads=2))


@story
def searched(bench):
    """A round of probes and a step, by two workers of which one dies in a probe."""
    one_of_two_dies(Bench(bench.programs, bench.directory / "searched", ("--effort", "1")), "probe")


def tell(function, bench):
    """What went wrong, as text, with the last lines of all logs; empty when nothing did."""
    start = time.monotonic()
    try:
        function(bench)
        error = ""
    except Exception:  # every story is told, whatever happens in another
        error = traceback.format_exc() + last_lines(bench.directory / function.__name__)
    print(f"{'FAILED' if error else 'ok':6} {function.__name__} {time.monotonic() - start:.1f} s", flush=True)
    return error


def choose_instructions(local, instruction_set):
    """All programs from here on use this set. False where the machine lacks it."""
    os.environ["QUANTMOE_INSTRUCTION_SET"] = instruction_set
    asked = subprocess.run([str(local), "inspect", "--model", str(MODEL)], capture_output=True, text=True)
    assert asked.returncode == 0 or "INSTRUCTION_SET_UNAVAILABLE" in asked.stderr, asked.stderr
    return asked.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for program in ("server", "worker", "client", "local"):
        parser.add_argument(f"--{program}", required=True)
    parser.add_argument("--only", action="append", choices=[function.__name__ for function in STORIES])
    parser.add_argument("--instruction-set", help="for all programs; skipped where the machine lacks it")
    options = parser.parse_args()
    if options.instruction_set and not choose_instructions(options.local, options.instruction_set):
        print(f"[  SKIPPED ] this machine lacks {options.instruction_set}")
        return 0
    stories = [function for function in STORIES if not options.only or function.__name__ in options.only]
    with tempfile.TemporaryDirectory(prefix="quantmoe-same-bytes-") as directory:
        bench = Bench(options, pathlib.Path(directory))
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            bench.calm = pool.submit(bench.quantize_locally, threads=1)
            errors = list(pool.map(lambda function: tell(function, bench), stories))
    for error in filter(None, errors):
        print(error, file=sys.stderr)
    return 1 if any(errors) else 0


if __name__ == "__main__":
    sys.exit(main())
