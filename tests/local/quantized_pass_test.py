#!/usr/bin/env python3
"""Jobs with quantized propagation on the trained tiny model: the second pass gives the same bytes with one and with two
threads, makes up for the drift of the inputs, and keeps the plan and the sizes of the first."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

JOB = ("--budget", "2", "--heuristic", "uniform", "--group-size", "128", "--samples", "8", "--sequence-length", "256", "--window", "256")


def quantize(local, testdata, out, threads, *options):
    command = [local, "--threads", str(threads), "quantize", "--model", f"{testdata}/tiny-qwen2-moe", "--out", out, "--work-dir", f"{out}.work", *JOB, *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if result.returncode != 0:
        sys.exit(f"{options}: exit {result.returncode}\n{result.stderr[-3000:]}")
    return json.loads(result.stdout)


def weights_size(out):
    return sum(path.stat().st_size for path in pathlib.Path(out).glob("*.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = pathlib.Path(arguments.testdata, "tiny_heldout.txt").read_text()[:12000]
        short = pathlib.Path(scratch, "short.txt")
        short.write_text(text)
        run = lambda name, threads, *options: quantize(arguments.local, arguments.testdata, f"{scratch}/{name}", threads, "--text", str(short), *options)
        perplexity = lambda job: job["scores"]["planned"]["perplexity"]["value"]
        second = ("--propagation", "quantized", "--gate-weighted", "--shrinkage", "0.1", "--order", "group", "--all-tokens", "*.experts.0.*")
        one, two = run("one", 1, *second, "--correction", "1"), run("two", 2, *second, "--correction", "1")
        plain = run("plain", 2)
        assert one["manifest_sha256"] == two["manifest_sha256"], "the bytes depend on the number of threads"
        assert weights_size(f"{scratch}/one") == weights_size(f"{scratch}/plain"), "the second pass changed a size"
        assert one["stages"]["resolve"]["tasks"] == one["stages"]["solve"]["tasks"], one["stages"]
        assert perplexity(one) < perplexity(plain), f"{perplexity(one)} is not below {perplexity(plain)}"
        print(f"ok: 2 bits, perplexity {perplexity(plain):.3f} in one pass, {perplexity(one):.3f} in two")


if __name__ == "__main__":
    main()
