"""The real server, workers and client on loopback, for tests that kill them."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

DEADLINE_SECONDS = 150
POLL_SECONDS = 0.02
CRASHED = 137  # exit code of a process that reached its QUANTMOE_CRASH_AT


def wait_until(what, condition):
    """The first true value of the condition; an AssertionError after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{what}: not within {DEADLINE_SECONDS} s")


def free_address():
    """A loopback address to listen on again and again: below the ports that outgoing connections take."""
    while True:
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return f"127.0.0.1:{port}"
            except OSError:
                continue


class LiveService:
    """A context manager; the processes end with it. Everything is written under `directory`."""

    def __init__(self, programs, model_root, directory, server_flags=()):
        self.programs, self.directory = programs, pathlib.Path(directory)
        self.data = self.directory / "data"
        self.api, self.http = free_address(), free_address()
        self.worker_address = free_address()
        self.server_flags = ["--model-root", model_root, *server_flags]
        self.processes = []
        self.server = None
        self.started = {}
        self.directory.mkdir(parents=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def spawn(self, name, command, crash_at="", **options):
        """Starts a program; its errors go to the log NAME.N."""
        self.started[name] = self.started.get(name, 0) + 1
        log = self.directory / f"{name}.{self.started[name]}.log"
        environment = dict(os.environ, QUANTMOE_CRASH_AT=crash_at)
        with open(log, "wb") as errors:
            process = subprocess.Popen([str(part) for part in command], stderr=errors, env=environment,
                                       **{"stdout": errors, **options})
        self.processes.append(process)
        return process

    def start_server(self, crash_at=""):
        """Returns once it listens, or once it is dead because the crash point comes earlier."""
        ports = self.directory / "ports.json"
        ports.unlink(missing_ok=True)
        self.server = self.spawn("server", [
            self.programs.server, "--data-dir", self.data, "--listen", self.api, "--worker-listen", self.worker_address,
            "--http-listen", self.http, "--port-file", ports, *self.server_flags], crash_at)
        wait_until("the server listens", lambda: ports.exists() or self.server.poll() is not None)
        code = self.server.poll()
        assert code is None or (crash_at and code == CRASHED), f"the server ended with {code}"

    def start_worker(self, name, *flags, crash_at=""):
        return self.spawn(name, [self.programs.worker, "--server", self.worker_address, "--worker-id", name,
                                 "--threads", "1", "--http-listen", "", *flags], crash_at)

    def client_command(self, *arguments):
        return [str(part) for part in (self.programs.client, "--server", self.api, "--json", *arguments)]

    def client(self, *arguments):
        """The output of a client command that must succeed."""
        result = subprocess.run(self.client_command(*arguments), capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        assert result.returncode == 0, f"quantmoe {' '.join(map(str, arguments))}: {result.returncode}\n{result.stderr}"
        return result.stdout

    def events(self, job):
        return [json.loads(line) for line in self.client("events", job).splitlines()]

    def state(self, job):
        return json.loads(self.client("get", job))["state"]

    def start_watch(self, job, after_seq=0):
        """A client that watches, and the file with its events."""
        number = self.started.get("watch", 0) + 1
        path = self.directory / f"watch.{number}.json"
        with open(path, "wb") as output:
            process = self.spawn("watch", self.client_command("watch", job, "--after-seq", after_seq), stdout=output)
        return process, path


def last_lines(directory, count=12):
    """The ends of all logs below a directory, as text."""
    tails = []
    for log in sorted(directory.rglob("*.log")):
        tails += [f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-count:]]
    return "\n".join(tails)


def watched(path):
    """Logged events in the output of a watching client; a line that is half written is left out."""
    lines = path.read_text().split("\n")[:-1]
    return [event for event in map(json.loads, lines) if event["seq"] != "0"]
