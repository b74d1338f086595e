#!/usr/bin/env python3
"""Searches on the trained tiny model: the plan is never worse on the sample, keeps budget and pins, has the same bytes
with one and with two threads, and a job with more effort goes on where another one ended. Beside it, blocks ranked by the
trained predictor."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

JOB = ("--group-size", "128", "--samples", "8", "--sequence-length", "256", "--no-evaluation")
SEARCHED = ("--budget", "2.75", "--pin", "attention=4", "--publish", "plan")
TWO_ROUNDS, THREE_ROUNDS = ("--effort", "45"), ("--effort", "66")


def quantize(local, testdata, out, threads, work, *options):
    command = [local, "--threads", str(threads), "quantize", "--model", f"{testdata}/tiny-qwen2-moe", "--out", out, "--work-dir", work, *JOB, *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if result.returncode != 0:
        sys.exit(f"{options}: exit {result.returncode}\n{result.stderr[-3000:]}")
    return json.loads(result.stdout)


def plan_of(out):
    return json.loads(pathlib.Path(out, "quantmoe_plan.json").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = lambda name, threads, work, *options: quantize(arguments.local, arguments.testdata, f"{scratch}/{name}", threads, f"{scratch}/{work}", *options)
        one = run("one", 1, "work", *SEARCHED, *TWO_ROUNDS)
        two = run("two", 2, "other", *SEARCHED, *TWO_ROUNDS)
        more = run("more", 2, "work", *SEARCHED, *THREE_ROUNDS)
        plain = run("plain", 2, "work", *SEARCHED, "--effort", "0")
        assert one["manifest_sha256"] == two["manifest_sha256"], "the bytes depend on the number of threads"
        assert more["stages"]["refine"] | {"seconds": 0} == {"tasks": 4, "cached": 3, "seconds": 0}, more["stages"]
        assert plain["stages"]["solve"]["cached"] == plain["stages"]["solve"]["tasks"], "a search changed what solves read"
        found, longer = plan_of(f"{scratch}/one"), plan_of(f"{scratch}/more")
        assert "refined" not in plan_of(f"{scratch}/plain")
        facts = found["refined"]
        assert facts["rounds"] == 2 and facts["trials"] > 2 and facts["tokens"] == 4096, facts
        assert longer["refined"]["rounds"] == 3, longer["refined"]
        assert longer["refined"]["divergence_after"] <= facts["divergence_after"] <= facts["divergence_before"], facts
        assert found["average_bits"] <= 2.75 and longer["average_bits"] <= 2.75
        size = sum(path.stat().st_size for path in pathlib.Path(scratch, "one").glob("*.safetensors"))
        assert size == found["weight_file_bytes"], f"{size} bytes, {found['weight_file_bytes']} predicted"
        attention = {linear["bits"] for linear in found["linears"] if linear["linear"]["kind"] in ("query", "key", "value", "output")}
        assert attention == {4}, attention
        short = pathlib.Path(scratch, "short.txt")
        short.write_text("There is too little here. " * 20)
        command = [arguments.local, "quantize", "--model", f"{arguments.testdata}/tiny-qwen2-moe", "--out", f"{scratch}/no", *JOB, *SEARCHED, *TWO_ROUNDS, "--calibration", short]
        failed = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert failed.returncode != 0 and "one sequence needs 256" in failed.stderr, failed.stderr
        trained = run("trained", 2, "work", "--budget", "3", "--heuristic", "block-importance", "--param", "estimate=trained", "--param", "epochs=2")
        assert trained["stages"]["predict"]["tasks"] > 1, trained["stages"]
        print(f"ok: divergence {facts['divergence_before']:.5f} -> {facts['divergence_after']:.5f} -> {longer['refined']['divergence_after']:.5f}")


if __name__ == "__main__":
    main()
