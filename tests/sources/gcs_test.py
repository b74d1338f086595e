#!/usr/bin/env python3
"""quantmoe-local reads a model from a server in this process that speaks the JSON API of Google Cloud Storage: lists, metadata
and ranges of media. Only the bytes that are needed are sent; 401, 403, 404, 429 and 500 are told as what they are, or tried
again; and a job gives the artifact that it gives from a directory."""
import argparse
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse

SECONDS = 240
BUCKET = "models"
QUANTIZE = ["--budget", "3", "--heuristic", "uniform", "--samples", "4", "--sequence-length", "64", "--no-evaluation", "--min-tokens-ratio", "0"]
METADATA = "metadata"  # kinds of requests, for faults
LIST = "list"
MEDIA = "media"
PIECE = 1 << 14
PADDING = 64 << 20


class FakeGcs:
    """A bucket on loopback. Thread-safe."""

    def __init__(self):
        self.objects, self.faults, self.lock = {}, [], threading.Lock()
        self.media_bytes, self.media_requests = 0, []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda request, address: None  # connections that the client ends
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def add_directory(self, directory, prefix):
        for path in directory.iterdir():
            self.objects[f"{prefix}/{path.name}"] = path.read_bytes()

    def fail(self, prefix, kind, status, times, **fault):
        """The next so many requests of this kind for objects below the prefix get this answer."""
        with self.lock:
            self.faults.append({"prefix": prefix, "kind": kind, "status": status, "left": times, **fault})

    def fault(self, kind, name):
        with self.lock:
            for fault in self.faults:
                if fault["left"] > 0 and fault["kind"] == kind and name.startswith(fault["prefix"]):
                    fault["left"] -= 1
                    return fault
        return None

    def answer(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(url.query)
        listed = re.fullmatch(f"/storage/v1/b/{BUCKET}/o", url.path)
        named = re.fullmatch(f"(?:/download)?/storage/v1/b/{BUCKET}/o/(.+)", url.path)
        if not listed and not named:
            return self.send(request, 404, {"error": {"code": 404, "message": "no such bucket"}})
        name = urllib.parse.unquote(named[1]) if named else query.get("prefix", [""])[0]
        kind = LIST if listed else MEDIA if query.get("alt") == ["media"] else METADATA
        fault = self.fault(kind, name)
        if fault and fault["status"]:
            return self.send(request, fault["status"], {"error": {"code": fault["status"], "message": "on demand"}})
        if listed:
            names = sorted(key for key in self.objects if key.startswith(name))
            return self.send(request, 200, {"kind": "storage#objects", "items": [self.metadata(key) for key in names]})
        if name not in self.objects:
            return self.send(request, 404, {"error": {"code": 404, "message": "no such object"}})
        if kind == METADATA:
            return self.send(request, 200, self.metadata(name))
        return self.send_media(request, name, fault or {})

    def metadata(self, name):
        return {"kind": "storage#object", "bucket": BUCKET, "name": name, "size": str(len(self.objects[name])), "generation": "1",
                "metageneration": "1", "updated": "2024-01-01T00:00:00Z", "timeCreated": "2024-01-01T00:00:00Z"}

    def send(self, request, status, document):
        body = json.dumps(document).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def send_media(self, request, name, fault):
        content = self.objects[name]
        first, last = 0, len(content) - 1
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if span:
            first, last = int(span[1]), min(last, int(span[2])) if span[2] else last
        if first > last:
            return self.send(request, 416, {"error": {"code": 416, "message": "range"}})
        body = content[first:last + 1]
        sent = body[:fault.get("break_after", len(body))]
        with self.lock:
            self.media_requests.append((name, first, last))
        request.send_response(206 if span else 200)
        if span:
            request.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        request.send_header("Content-Length", str(len(body)))
        request.send_header("x-goog-generation", "1")
        request.send_header("x-goog-storage-class", "STANDARD")
        request.end_headers()
        request.close_connection = len(sent) < len(body)
        try:
            for begin in range(0, len(sent), PIECE):
                request.wfile.write(sent[begin:begin + PIECE])
                with self.lock:
                    self.media_bytes += len(sent[begin:begin + PIECE])
        except OSError:
            request.close_connection = True  # the client has what it wanted


class Story:
    def __init__(self, local, fake):
        self.local, self.fake = local, fake

    def run(self, *arguments):
        variables = {**os.environ, "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.fake.endpoint}
        return subprocess.run([self.local, "--threads", "1", *map(str, arguments)], env=variables, text=True, capture_output=True,
                              timeout=SECONDS)

    def output(self, *arguments):
        result = self.run(*arguments)
        assert result.returncode == 0, f"{arguments}: {result.returncode}\n{result.stderr}"
        return json.loads(result.stdout)

    def check_refused(self, reason, code, uri, *words):
        result = self.run("inspect", uri)
        assert result.returncode == code, f"{uri}: exit {result.returncode}\n{result.stderr}"
        for word in (f"reason: {reason}", *words):
            assert word in result.stderr, f"{uri}: no {word} in {result.stderr}"
        print(f"ok: {uri}: {reason}")


def add_padding(content):
    """The weight file with a tensor behind the others that nobody needs."""
    size = struct.unpack_from("<Q", content)[0]
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    header["padding"] = {"dtype": "U8", "shape": [PADDING], "data_offsets": [len(data), len(data) + PADDING]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data + bytes(PADDING)


def check_ranges(story, model):
    """Headers only. Arrow opens a file with a request for all of it, of which the sockets hold a part when it stops reading."""
    fake = story.fake
    assert story.output("inspect", "gs://models/tiny") == story.output("inspect", model)
    fake.add_directory(model, "padded")
    fake.objects["padded/model.safetensors"] = add_padding(fake.objects["padded/model.safetensors"])
    sent = fake.media_bytes
    story.output("inspect", "gs://models/padded")
    sent, size = fake.media_bytes - sent, len(fake.objects["padded/model.safetensors"])
    asked = [last + 1 - first for name, first, last in fake.media_requests if name == "padded/model.safetensors"]
    assert sorted(asked)[-2] < size / 100, f"ranges of {asked} bytes"
    assert sent < size / 4, f"inspect was sent {sent} of {size} bytes"
    print(f"ok: inspect was sent {sent} bytes of a model of {size}")


def check_refusals(story, model):
    fake = story.fake
    story.check_refused("MODEL_NOT_FOUND", 2, "gs://models/missing")
    story.check_refused("MODEL_NOT_FOUND", 2, "gs://other-bucket/tiny")
    for status in (401, 403):
        fake.add_directory(model, f"closed{status}")
        fake.fail(f"closed{status}", METADATA, status, times=1000)
        fake.fail(f"closed{status}", LIST, status, times=1000)
        story.check_refused("SOURCE_ACCESS_DENIED", 1, f"gs://models/closed{status}")


def check_busy(story, model, status):
    story.fake.add_directory(model, f"busy{status}")
    for kind in (METADATA, LIST, MEDIA):
        story.fake.fail(f"busy{status}", kind, status, times=1)
    assert story.output("inspect", f"gs://models/busy{status}") == story.output("inspect", model)
    print(f"ok: {status} is tried again")


def check_broken(story, model):
    story.fake.add_directory(model, "broken")
    story.fake.fail("broken", MEDIA, 0, times=3, break_after=5)
    assert story.output("inspect", "gs://models/broken") == story.output("inspect", model)
    print("ok: broken bodies are tried again")


def check_down(story, model, status):
    story.fake.add_directory(model, f"down{status}")
    story.fake.fail(f"down{status}", MEDIA, status, times=1000)
    story.check_refused("OBJECT_STORE_UNAVAILABLE", 1, f"gs://models/down{status}", "down")


def check_job(story, model, scratch):
    remote = story.output("quantize", "--model", "gs://models/tiny", "--out", f"{scratch}/remote", *QUANTIZE)
    local = story.output("quantize", "--model", model, "--out", f"{scratch}/local", *QUANTIZE)
    assert remote["manifest_sha256"] == local["manifest_sha256"], "the place of the model shows in the artifact"
    print("ok: the artifact of gs:// has the bytes of the artifact of a directory")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    flags = parser.parse_args()
    model = flags.testdata / "tiny-qwen2-moe"
    fake = FakeGcs()
    fake.add_directory(model, "tiny")
    story = Story(flags.local, fake)
    with tempfile.TemporaryDirectory() as scratch:
        check_ranges(story, model)
        check_refusals(story, model)
        # These wait more than they work: who stays down is given up after half a minute.
        with concurrent.futures.ThreadPoolExecutor(max_workers=7) as pool:
            checks = [pool.submit(check_job, story, model, scratch), pool.submit(check_broken, story, model)]
            checks += [pool.submit(check_busy, story, model, status) for status in (429, 500, 503)]
            checks += [pool.submit(check_down, story, model, status) for status in (429, 500)]
            for check in checks:
                check.result()


if __name__ == "__main__":
    sys.exit(main())
