#!/usr/bin/env python3
"""Tokenizer speed beside the reference implementation, in the same run, on one core each.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.22.2     # an environment of its own
    VENV/bin/python bench/compare_tokenizers.py build/release/bench/tokenizer_bench

Both sides encode the same prose as one text, the best of several turns counts, and time is that of the processor.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
import tokenizers  # noqa: E402  (reads the environment)

ROOT = pathlib.Path(__file__).resolve().parent.parent
TURNS = 3


def ours(program):
    command = [program, "--benchmark_filter=BM_EncodeProse", "--benchmark_format=json", "--benchmark_min_time=0.3"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["benchmarks"]
    for row in rows:
        if row.get("error_occurred"):
            sys.exit(f"{row['name']}: {row['error_message']}")
        yield row["name"].split("/")[1], row["bytes_per_second"] / 1e6


def reference(name, text):
    folder = "tiny-qwen2-moe" if name == "tiny" else f"tokenizers/{name}"
    tokenizer = tokenizers.Tokenizer.from_file(str(ROOT / "testdata" / folder / "tokenizer.json"))
    best = float("inf")
    for _ in range(TURNS):
        for encode in (tokenizer.encode, lambda t, **flags: tokenizer.encode_batch_fast([t], **flags)):
            begin = time.process_time()
            encode(text, add_special_tokens=False)
            best = min(best, time.process_time() - begin)
    return len(text.encode()) / best / 1e6


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = (ROOT / "plan/job/prose/calibration.txt").read_text(encoding="utf-8")
    print(f"{'':14}{'quantmoe':>12}{'tokenizers ' + tokenizers.__version__:>20}{'ratio':>8}   (MB/s)")
    for name, speed in ours(sys.argv[1]):
        other = reference(name, text)
        print(f"{name:14}{speed:12.1f}{other:20.2f}{speed / other:8.1f}")


if __name__ == "__main__":
    main()
