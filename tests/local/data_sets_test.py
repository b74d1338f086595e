#!/usr/bin/env python3
"""Texts and benchmark items from data sets on the Hub: a job that names them by URI publishes the bytes of a job over the same
files from disk, in one process and on a service, where the server fetches each file once; and only the first items count when
there is a limit. The Hub is a server in this process."""
import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

from live_service import LiveService, last_lines

SECONDS = 240
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = "hf://datasets/owner/data"
LIMIT = 4
SPEC = ["--heuristic", "uniform", "--samples", "4", "--sequence-length", "64", "--window", "64", "--limit", LIMIT,
        "--min-tokens-ratio", "0"]


class FakeHub:
    """One data set on loopback; counts what it sends of each file."""

    def __init__(self, files):
        self.files, self.sent, lock = files, {}, threading.Lock()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status, headers, body = fake.answer(self.path)
                file = re.fullmatch(f"/datasets/owner/data/resolve/{COMMIT}/(.+)", self.path)
                if status == 200 and file:
                    with lock:
                        fake.sent[file[1]] = fake.sent.get(file[1], 0) + len(body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{server.server_port}"

    def oid(self, name):
        content = self.files[name]
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def answer(self, path):
        api = "/api/datasets/owner/data"
        if path == f"{api}/revision/main":
            return 200, {}, json.dumps({"sha": COMMIT}).encode()
        tree = re.fullmatch(f"{api}/tree/{COMMIT}/(.+)", path)
        if tree:
            names = [name for name in self.files if name.rpartition("/")[0] == tree[1]]
            listed = [{"type": "file", "path": name, "size": len(self.files[name]), "oid": self.oid(name)} for name in names]
            return (200, {}, json.dumps(listed).encode()) if listed else (404, {}, b"")
        file = re.fullmatch(f"/datasets/owner/data/resolve/{COMMIT}/(.+)", path)
        if file and file[1] in self.files:
            return 200, {"ETag": f'"{self.oid(file[1])}"', "X-Repo-Commit": COMMIT}, self.files[file[1]]
        return 404, {}, b""


def make_files(testdata):
    prose = (testdata / "tiny_calibration.txt").read_text()[:40000].split("\n\n")
    return {"text/calibration.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in prose).encode(),
            "text/heldout.txt": (testdata / "tiny_heldout.txt").read_bytes()[:4000],
            "items/copa.jsonl": (testdata / "tasks" / "copa.jsonl").read_bytes(),
            "items/arc_easy.parquet": (testdata / "evaluate" / "harness" / "arc_easy.parquet").read_bytes()}


def data_flags(place):
    return ["--calibration", f"{place}/text/calibration.jsonl", "--text", f"{place}/text/heldout.txt", "--task",
            f"copa={place}/items/copa.jsonl", "--task", f"arc_easy={place}/items/arc_easy.parquet"]


def run(command, code=0):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == code, f"{command}: {result.returncode}\n{result.stderr}"
    return result


def quantize(options, hub, scratch, name, place, *more):
    run([options.local, "--threads", "1", "--hub-endpoint", hub.endpoint, "--hub-cache-dir", scratch / f"{name}.cache", "quantize",
         "--model", options.testdata / "tiny-qwen2-moe", "--out", scratch / name, "--budget", "3", *SPEC, *data_flags(place), *more])
    return (scratch / name / "artifact.json").read_bytes(), json.loads((scratch / name / "quantmoe_scores.json").read_text())


def check_once(hub):
    assert hub.sent == {name: len(content) for name, content in hub.files.items()}, f"sent {hub.sent}"


def local_story(options, hub, files, scratch):
    expected, scores = quantize(options, hub, scratch, "disk", files)
    assert not hub.sent, "files from disk need no hub"
    remote, _ = quantize(options, hub, scratch, "hub", DATA)
    assert remote == expected, "the place of the data shows in the artifact"
    check_once(hub)
    counted = {name: task["items"] for name, task in scores["planned"]["tasks"].items()}
    assert counted == {"arc_easy": LIMIT, "copa": LIMIT}, f"{counted} items counted"
    refused = run([options.local, "--hub-endpoint", hub.endpoint, "--hub-cache-dir", scratch / "none.cache", "quantize", "--model",
                   options.testdata / "tiny-qwen2-moe", "--out", scratch / "none", "--budget", "3", "--calibration",
                   f"{DATA}/text/none.jsonl"], code=2)
    assert "DATA_NOT_FOUND" in refused.stderr and "text/none.jsonl" in refused.stderr, refused.stderr
    return expected


def service_story(options, hub, scratch, expected):
    hub.sent.clear()
    flags = ["--model-root", DATA, "--hub-endpoint", hub.endpoint, "--hub-cache-dir", scratch / "server.cache"]
    with LiveService(options, options.testdata, scratch / "service", flags) as service:
        service.start_server()
        service.start_worker("worker", "--model-root", options.testdata)
        try:
            service.client("submit", options.testdata / "tiny-qwen2-moe", "--bits", "3", *SPEC, *data_flags(DATA), "--name", "one", "--watch")
            check_once(hub)
            job = json.loads(service.client("get", "one"))
            assert job["spec"]["calibration"]["text_uri"] == f"{DATA}@{COMMIT}/text/calibration.jsonl", job["spec"]
            published = (service.data / "artifacts" / "one" / "artifact.json").read_bytes()
            assert published == expected, "the service publishes other bytes"
            for uri, reason, code in ((f"{DATA}/text/none.jsonl", "DATA_NOT_FOUND", 1), ("hf://datasets/other/data/a.txt", "SOURCE_NOT_ALLOWED", 2),
                                      ("hf://owner/model/a.txt", "spec.calibration.text_uri", 2)):
                refused = run(service.client_command("submit", options.testdata / "tiny-qwen2-moe", "--bits", "3", "--calibration", uri), code)
                assert reason in refused.stderr, f"{uri}: {refused.stderr}"
        except AssertionError:
            print(last_lines(service.directory))
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for program in ("server", "worker", "client", "local"):
        parser.add_argument(f"--{program}", type=pathlib.Path)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-data-sets-") as directory:
        scratch = pathlib.Path(os.path.realpath(directory))
        files = scratch / "files"
        hub = FakeHub(make_files(options.testdata))
        for name, content in hub.files.items():
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).write_bytes(content)
        expected = local_story(options, hub, files, scratch)
        if options.server:
            service_story(options, hub, scratch, expected)
    print("data sets give the bytes of files")


if __name__ == "__main__":
    sys.exit(main())
