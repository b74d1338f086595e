#!/usr/bin/env python3
"""quantmoe-local reads a model from a real S3 server, by range, and tells what is wrong when it cannot: no such bucket, no
such model, wrong credentials. Skipped (exit 77) where `./dev test` has not unpacked the
server."""
import argparse
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

SKIPPED = 77
SECONDS = 240
START_SECONDS = 60
KEY, SECRET = "test:tester", "testing"
QUANTIZE = ["--budget", "3", "--heuristic", "uniform", "--samples", "4", "--sequence-length", "64", "--no-evaluation", "--min-tokens-ratio", "0"]


class CountingProxy:
    """Forwards TCP to the server and counts what comes back."""

    def __init__(self, port):
        self.target, self.received = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, count):
        try:
            while data := source.recv(1 << 16):
                if count:
                    self.received += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class S3Server:
    """A context manager around s3_server.sh."""

    def __init__(self, directory):
        self.directory = directory
        self.port = free_ports(5)
        script = pathlib.Path(__file__).with_name("s3_server.sh")
        self.process = subprocess.Popen([script, directory, str(self.port)], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        try:
            return self.await_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def await_answer(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                print("S3 server:", self.process.stdout.read().strip() or f"ended with {self.process.returncode}")
                sys.exit(SKIPPED if self.process.returncode == SKIPPED else 1)
            try:
                return self.log_in()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        raise AssertionError("the S3 server does not answer; " + (self.directory / "log").read_text()[-2000:])

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait()

    def request(self, method, path, headers, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        if response.status // 100 != 2:
            raise http.client.HTTPException(f"{method} {path}: {response.status}")
        return response

    def log_in(self):
        response = self.request("GET", "/auth/v1.0", {"X-Auth-User": KEY, "X-Auth-Key": SECRET})
        self.token = {"X-Auth-Token": response.getheader("X-Auth-Token")}
        self.account = urllib.parse.urlparse(response.getheader("X-Storage-Url")).path
        self.request("PUT", f"{self.account}/models", self.token)
        return self

    def upload(self, directory, prefix):
        for path in sorted(directory.iterdir()):
            self.request("PUT", f"{self.account}/models/{prefix}/{path.name}", self.token, path.read_bytes())


def free_ports(count):
    """The first of some neighbouring ports that nobody listens on."""
    while True:
        first = random.SystemRandom().randrange(10000, 30000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


class Story:
    def __init__(self, local, port):
        self.local, self.proxy = local, CountingProxy(port)

    def run(self, *arguments, **environment):
        variables = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}", "AWS_REGION": "us-east-1",
                     "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, **environment}
        return subprocess.run([self.local, *map(str, arguments)], env=variables, text=True, capture_output=True,
                              timeout=SECONDS)

    def output(self, *arguments):
        result = self.run(*arguments)
        assert result.returncode == 0, f"{arguments}: {result.returncode}\n{result.stderr}"
        return json.loads(result.stdout)

    def check_refused(self, reason, code, uri, **environment):
        started = time.monotonic()
        result = self.run("inspect", uri, **environment)
        assert result.returncode == code, f"{uri}: exit {result.returncode}\n{result.stderr}"
        assert f"reason: {reason}" in result.stderr, f"{uri}: {result.stderr}"
        assert SECRET not in result.stderr and time.monotonic() - started < 60
        print(f"ok: {uri} {environment or ''}: {reason}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    flags = parser.parse_args()
    model = flags.testdata / "tiny-qwen2-moe"
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    with tempfile.TemporaryDirectory() as scratch, S3Server(pathlib.Path(scratch) / "swift") as server:
        server.upload(model, "tiny")
        story = Story(flags.local, server.port)

        assert story.output("inspect", "s3://models/tiny") == story.output("inspect", model)
        assert story.proxy.received < weights / 10, f"inspect read {story.proxy.received} of {weights} bytes"
        print(f"ok: inspect read {story.proxy.received} bytes of a model of {weights}")

        story.check_refused("MODEL_NOT_FOUND", 2, "s3://models/missing")
        story.check_refused("MODEL_NOT_FOUND", 2, "s3://no-such-bucket/tiny")
        story.check_refused("SOURCE_ACCESS_DENIED", 1, "s3://models/tiny", AWS_SECRET_ACCESS_KEY="wrong")
        story.check_refused("SOURCE_ACCESS_DENIED", 1, "s3://models/tiny", AWS_ACCESS_KEY_ID="nobody:here")

        remote = story.output("quantize", "--model", "s3://models/tiny", "--out", f"{scratch}/remote", *QUANTIZE)
        local = story.output("quantize", "--model", model, "--out", f"{scratch}/local", *QUANTIZE)
        assert remote["manifest_sha256"] == local["manifest_sha256"], "the place of the model shows in the artifact"
        print("ok: the artifact of s3:// has the bytes of the artifact of a directory")


if __name__ == "__main__":
    main()
