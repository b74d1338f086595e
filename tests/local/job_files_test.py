#!/usr/bin/env python3
"""Job files and flags, with the real programs: every example of docs/jobs runs; a job is the same by flags or by file, in one
process or on a service, to the last byte; and what `get -o yaml` prints submits the same job again."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from live_service import LiveService, last_lines, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOBS = ROOT / "docs/jobs"
MODEL = ROOT / "testdata/tiny-qwen2-moe"
SECONDS = 240
# Rules neither sorted nor different, which the two programs once read apart; everything small.
SMALL = ["--samples", "4", "--sequence-length", "64", "--no-evaluation", "--min-tokens-ratio", "0"]
PINS = ["--bits", "4", "--pin", "shared=8", "--pin", "attention=4", "--pin", "shared=8", "--protect", "dense", *SMALL]
ODDS = ["--stored-bits", "4", "--heuristic", "random", "--param", "seed=3", "--param", "count=1", "--order", "group",
        "--scales", "range", "--gate-weighted", "--all-tokens", "*.experts.1.*", "--states", "bf16", *SMALL]


def run(*command, code=0, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS, **options)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def quantize(local, out, *flags):
    """The digest of the manifest."""
    return json.loads(run(local, "quantize", "--out", out, *flags).stdout)["manifest_sha256"]


def submit(service, name, *flags):
    """Of the same job on a service."""
    service.client("submit", "--name", name, *flags)
    wait_until(name, lambda: service.state(name) in ("SUCCEEDED", "FAILED"))
    assert service.state(name) == "SUCCEEDED", service.client("get", name)
    return json.loads(service.client("artifact", "show", name))["manifest_sha256"]


def check_examples(service, local, directory):
    for path in sorted([*JOBS.glob("*.yaml"), *JOBS.glob("*.json")]):
        here = quantize(local, directory / path.stem, "-f", path)
        assert submit(service, path.stem, "-f", path) == here, f"{path.name} gives two artifacts"


def check_flags(service, local, directory):
    """Rules keep their order, and everything else that is typed means the same."""
    for name, flags in (("pins", PINS), ("odds", ODDS)):
        here = quantize(local, directory / name, "--model", MODEL, *flags)
        assert submit(service, name, MODEL, *flags) == here, f"{flags} give two artifacts"
    spec = json.loads((directory / "pins/artifact.json").read_text())["spec"]
    assert [rule["pattern"] for rule in spec["rules"]] == ["shared", "attention", "shared", "dense"], spec["rules"]


def check_again(service, local, directory):
    """A printed job file is the same job, here and there."""
    for name in ("pins", "odds", "rules-and-benchmarks"):
        text = run(service.programs.client, "--server", service.api, "get", name, "-o", "yaml").stdout
        path = directory / f"{name}.again.yaml"
        path.write_text(text)
        service.client("submit", "-f", path, "--name", f"{name}-again")
        first, second = (json.loads(service.client("get", job)) for job in (name, f"{name}-again"))
        assert first["resolved_spec"] == second["resolved_spec"], f"{text}\n{first}\n{second}"
        printed = run(service.programs.client, "--server", service.api, "get", f"{name}-again", "-o", "yaml").stdout
        assert printed == text, f"{text}\n{printed}"


def check_dry_run(service, local, directory):
    path = JOBS / "smallest.yaml"
    jobs = len(json.loads(service.client("list"))["jobs"])
    there = json.loads(service.client("submit", "-f", path, "--bits", "2.5", "--dry-run"))
    assert there["job"]["resolved_spec"]["budget"]["average_bits"] == 2.5, there
    assert int(there["estimate"]["predicted_bytes"]) > 0, there
    assert len(json.loads(service.client("list"))["jobs"]) == jobs, "a dry run created a job"
    here = json.loads(run(local, "quantize", "-f", path, "--bits", "2.5", "--dry-run", cwd=directory).stdout)
    assert here["spec"]["budget"]["average_bits"] == 2.5, here
    assert here["estimate"]["predicted_bytes"] == int(there["estimate"]["predicted_bytes"]), (here, there)
    assert here["spec"]["gptq"]["group_size"] == there["job"]["resolved_spec"]["gptq"]["group_size"] > 0


def check_refusals(service, local, directory):
    path = directory / "bad.yaml"
    path.write_text("model: {uri: /m}\nbudget: {average_bits: 3}\ngptq:\n  group_sise: 64\n  damp: much\n")
    for command in ([local, "quantize", "-f", path, "--out", directory / "bad"],
                    [service.programs.client, "--server", service.api, "submit", "-f", path]):
        told = run(*command, code=2).stderr
        assert f"{path}:4:3" in told and "did you mean group_size?" in told and f"{path}:5:9" in told, told
    assert not (directory / "bad").exists()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for program in ("server", "worker", "client", "local"):
        parser.add_argument(f"--{program}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-job-files-") as name:
        directory = pathlib.Path(name)
        try:
            with LiveService(options, ROOT / "testdata", directory / "service") as service:
                service.start_server()
                service.start_worker("worker")
                for check in (check_refusals, check_dry_run, check_examples, check_flags, check_again):
                    check(service, options.local, directory)
                    print(f"ok {check.__name__}", flush=True)
        except BaseException:
            print(last_lines(directory), file=sys.stderr)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
