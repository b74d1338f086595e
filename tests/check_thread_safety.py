#!/usr/bin/env python3
"""Clang's thread safety analysis of server/ and worker/: locks, and what belongs to the commit loop's thread.

usage: check_thread_safety.py BUILD_DIR [SOURCE...]

Reads compile_commands.json of a configured build whose protos are generated. The analysis is worth nothing where it
finds nothing, so it first has to find every violation of tests/server/facts/loop_thread_violations.cc.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

COMPILER = "clang++-14"
ROOT = pathlib.Path(__file__).resolve().parent.parent
VIOLATIONS = ROOT / "tests/server/facts/loop_thread_violations.cc"
ANALYSIS = ["-Wno-everything", "-Wthread-safety", "-Wthread-safety-beta", "-Werror=thread-safety", "-Werror=thread-safety-beta"]
# What takes longest to read, once for all sources.
PREFIX = """#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>
#include "quantmoe/v1/artifacts.grpc.pb.h"
#include "quantmoe/v1/blobs.grpc.pb.h"
#include "quantmoe/v1/catalog.grpc.pb.h"
#include "quantmoe/v1/jobs.grpc.pb.h"
#include "quantmoe/v1/system.grpc.pb.h"
#include "quantmoe/v1/worker.grpc.pb.h"
"""


def sources_and_flags(build):
    """The sources of both programs, and flags under which all of them can be read."""
    sources, flags = [], {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        if not any(path.is_relative_to(ROOT / folder) for folder in ("server", "worker")):
            continue
        sources.append(path)
        words = iter(shlex.split(entry["command"]))
        for word in words:
            if word in ("-isystem", "-I", "-D"):
                flags[(word, next(words))] = None
            elif word.startswith(("-I", "-D", "-std=")):
                flags[(word,)] = None
    return sources, [word for flag in flags for word in flag]


def read(arguments):
    return subprocess.run([COMPILER, *arguments], capture_output=True, text=True)


def fail(text):
    print(text.rstrip(), file=sys.stderr)
    raise SystemExit(1)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    sources, flags = sources_and_flags(build)
    if len(sys.argv) > 2:
        sources = [pathlib.Path(source).resolve() for source in sys.argv[2:]]
    if not sources:
        fail(f"thread safety: {build} has no sources of server/ and worker/")

    work = build / "thread_safety"
    work.mkdir(exist_ok=True)
    prefix, compiled = work / "prefix.h", work / "prefix.pch"
    prefix.write_text(PREFIX)
    result = read([*flags, "-x", "c++-header", str(prefix), "-o", str(compiled)])
    if result.returncode != 0:
        fail(result.stderr)

    check = ["-fsyntax-only", *ANALYSIS, *flags, "-include-pch", str(compiled)]
    result = read([*check, "-Xclang", "-verify", str(VIOLATIONS)])
    if result.returncode != 0:
        fail(f"thread safety: the analysis does not find what it has to find\n{result.stderr}")
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        failures = 0
        for result in pool.map(lambda source: read([*check, str(source)]), sources):
            if result.returncode != 0:
                print(result.stderr.rstrip(), file=sys.stderr)
                failures += 1
    if failures:
        fail(f"thread safety: {failures} of {len(sources)} sources break it")
    print(f"thread safety: {len(sources)} sources", file=sys.stderr)


if __name__ == "__main__":
    main()
