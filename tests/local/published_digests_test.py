#!/usr/bin/env python3
"""The shipped jobs, those of docs/jobs and the one of `./dev demo`, publish the bytes that published_digests.json records.

Bytes belong to a determinism class (docs/numerics.md), so digests are recorded for each: instruction set, and vendor of a CPU that is
not Intel's. Hardware that nobody recorded is skipped with a message; a class of recorded hardware that is new, because the library or
our numerics changed, fails until its digests are recorded: a change that alters published bytes is to be seen. Record with --record."""
import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDED = pathlib.Path(__file__).with_name("published_digests.json")
TESTDATA = ROOT / "testdata"
# Numbers of an evaluation are in no published file but the card: a few windows stand for all.
EVALUATED_CHARACTERS = 4000
JOBS = {path.stem: ["-f", path] for path in sorted((ROOT / "docs/jobs").iterdir()) if path.suffix in (".yaml", ".json")}
# As in `dev`, with fewer items of every benchmark.
JOBS["demo"] = ["--model", TESTDATA / "tiny-qwen2-moe", "--bits", "3.0", "--heuristic", "optimal", "--group-size", "128",
                "--tasks", TESTDATA / "tasks", "--add-bos", "--limit", "2"]
SECONDS = 600
SKIPPED = 77


def hardware(determinism_class):
    """`cpu-avx2-AuthenticAMD` of `cpu-avx2-AuthenticAMD-torch2.15-v7`."""
    return re.split(r"-torch\d", determinism_class)[0]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def digests(artifact):
    """Of every file, without the program's version, which is none of the job's; and what the manifest says beside the files."""
    manifest = json.loads((artifact / "artifact.json").read_text())
    found = {"artifact.json": digest(json.dumps({key: value for key, value in manifest.items() if key not in ("files", "quantmoe")},
                                                sort_keys=True).encode())}
    for file in manifest["files"]:
        content = (artifact / file["path"]).read_bytes()
        assert digest(content) == file["sha256"] and len(content) == file["size"], f"{file} is not what the manifest lists"
        if not file["path"].endswith(".safetensors"):
            content = content.replace(manifest["quantmoe"].encode(), b"VERSION")
        found[file["path"]] = digest(content)
    return manifest["determinism_class"], found


def publish(options, name, work, out):
    """The class and the digests of one job. Jobs share `work`: they have the texts and most of the forward passes in common."""
    text = work.with_suffix(".txt")
    text.write_text((TESTDATA / "tiny_heldout.txt").read_text()[:EVALUATED_CHARACTERS])
    done = subprocess.run([str(part) for part in (options.local, "quantize", *JOBS[name], "--text", text, "--work-dir", work, "--out", out)],
                          env=dict(os.environ, QUANTMOE_INSTRUCTION_SET=options.instruction_set), capture_output=True, text=True,
                          timeout=SECONDS)
    if "this machine" in done.stderr and done.returncode != 0 and options.instruction_set != "auto":
        print(f"[  SKIPPED ] {done.stderr.strip()}")
        sys.exit(SKIPPED)
    assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stderr}"
    return digests(out)


def compare(name, found, recorded):
    """What differs, a line a file."""
    return [f"{name}: {path} is {found.get(path, 'not published')}, recorded is {recorded.get(path, 'none')}"
            for path in sorted({*found, *recorded}) if found.get(path) != recorded.get(path)]


def check_class(determinism_class, recorded):
    if determinism_class in recorded:
        return
    known = [other for other in recorded if hardware(other) == hardware(determinism_class)]
    if not known:
        print(f"[  SKIPPED ] no digests are recorded for {determinism_class}; recorded are {', '.join(sorted(recorded))}")
        sys.exit(SKIPPED)
    sys.exit(f"the determinism class is {determinism_class}, recorded are {known}: record its digests with --record")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--instruction-set", default="auto", help="avx512, avx2 or baseline")
    parser.add_argument("--only", action="append", choices=sorted(JOBS), help="one job, instead of all; may be repeated")
    parser.add_argument("--record", action="store_true", help="write the digests instead of comparing them")
    options = parser.parse_args()
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    differences = []
    with tempfile.TemporaryDirectory(prefix="quantmoe-digests-") as directory:
        for name in options.only or JOBS:
            determinism_class, found = publish(options, name, pathlib.Path(directory, "work"), pathlib.Path(directory, name))
            if options.record:
                recorded.setdefault(determinism_class, {})[name] = found
                continue
            check_class(determinism_class, recorded)
            differences += compare(name, found, recorded[determinism_class].get(name, {}))
            print("ok" if not differences else "differs", name, flush=True)
    if options.record:
        RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        return 0
    if differences:
        sys.exit("\n".join(differences) + "\nA change that alters published bytes says so, and records them with --record.")
    print("ok", determinism_class)
    return 0


if __name__ == "__main__":
    sys.exit(main())
