#!/usr/bin/env python3
"""The plan of `optimal` is published only where it beats the uniform plan on text that it has not seen. Losses that are bad advice make
one that does not: GPTQ's layer-wise error on the trained tiny model."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

LOSING = ("--budget", "3", "--param", "objective=distortion", "--effort", "0")


class Jobs:
    def __init__(self, options, scratch):
        self.local, self.model, self.scratch = options.local, options.testdata / "tiny-qwen2-moe", scratch

    def run(self, name, *options, threads=2, work="work"):
        command = [self.local, "--threads", threads, "quantize", "--model", self.model, "--out", self.scratch / name, "--work-dir", self.scratch / work,
                   "--group-size", "128", "--samples", "8", "--sequence-length", "128", "--no-evaluation", "--max-fallback-ratio", "1", *options]
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
        if result.returncode != 0:
            sys.exit(f"{name}: exit {result.returncode}\n{result.stderr[-3000:]}")
        return json.loads(result.stdout)["manifest_sha256"], json.loads((self.scratch / name / "quantmoe_plan.json").read_text())


def check_winner(jobs):
    manifest, plan = jobs.run("loses", *LOSING)
    verdict = plan["verdict"]
    assert not verdict["plan_wins"] and not verdict["plan_published"] and verdict["unseen"], verdict
    assert verdict["plan"]["mean"] > verdict["uniform"]["mean"] and verdict["windows"] == 64 and verdict["tokens"] == 4096, verdict
    assert plan["heuristic"] == "uniform" and {linear["bits"] for linear in plan["linears"]} == {3}, plan["heuristic"]
    assert "did not beat these uniform widths" in (jobs.scratch / "loses/README.md").read_text()
    assert jobs.run("again", *LOSING, threads=1, work="other")[0] == manifest, "the bytes depend on the number of threads"
    stubborn = jobs.run("stubborn", *LOSING, "--publish", "plan")[1]
    assert stubborn["heuristic"] == "optimal" and len({linear["bits"] for linear in stubborn["linears"]}) > 1, stubborn["heuristic"]
    assert stubborn["verdict"] == {**verdict, "plan_published": True}, stubborn["verdict"]
    return verdict


def check_good_plan(jobs):
    plan = jobs.run("wins", "--budget", "3")[1]
    assert plan["verdict"]["plan_wins"] and plan["verdict"]["plan_published"] and plan["heuristic"] == "optimal", plan["verdict"]
    assert "risk" not in plan, "windows are weighed where that is asked"
    risk = jobs.run("weighed", "--budget", "3", "--param", "tail=0.5")[1]["risk"]
    assert risk["lower_bound"] <= risk["risk"] <= 1.01 * risk["lower_bound"] and risk["mean"] <= risk["risk"] <= risk["cvar"], risk
    assert "verdict" not in jobs.run("asked", "--budget", "3", "--heuristic", "expert-frequency")[1], "a ranking is what was asked for"


def check_short_text(jobs):
    """A text that is too short to part is used by solves and verdict alike, and the verdict says so."""
    text = jobs.scratch / "short.txt"
    text.write_text("It was the best of times, it was the worst of times, it was the age of wisdom. " * 8)
    verdict = jobs.run("short", "--budget", "3", "--calibration", text, work="short-work")[1]["verdict"]
    assert not verdict["unseen"] and 1 <= verdict["windows"] < 64, verdict


def check_signed_scales(jobs):
    """What the solve did to the scales is what the plan says of them."""
    for rule, symmetric in (("signed", False), ("positive", True)):
        plan = jobs.run(rule, "--budget", "4", "--heuristic", "uniform", "--widths", "4", "--scales", rule)[1]
        assert {linear["symmetric"] for linear in plan["linears"]} == {symmetric}, rule


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-verdict-") as scratch:
        jobs = Jobs(options, pathlib.Path(scratch))
        verdict = check_winner(jobs)
        for check in (check_good_plan, check_short_text, check_signed_scales):
            check(jobs)
    print(f"ok: a plan of {verdict['plan']['mean']:.4f} gives way to a uniform one of {verdict['uniform']['mean']:.4f}")


if __name__ == "__main__":
    main()
